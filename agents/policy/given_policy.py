"""A policy that another library has trained, as an agent: to be compared, asked and saved like the others."""

import copy
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from agents.agent import Agent
from agents.config import AgentConfig
from agents.monitor import Callback
from agents.registry import register_agent
from mura_env import ObservationLayout, Predictions
from mura_env.combination import action_scale, log_reference, simplex_weights, softmax_weights
from mura_env.errors import UserError
from mura_env.utils.progress import Progress
from mura_env.utils.text import shortened

Actions = Literal["softmax", "simplex", "select", "weights"]

_PREFIX = "policy."
"""Begins the name of a parameter among the agent's arrays."""
_MODULE = "given_policies_of_this_process"
"""None that can be imported: worker processes are sent the classes by value."""


@dataclass(frozen=True)
class GivenPolicy:
    """From observations `(n_studies, n_columns)` to actions, and the parameters that it does so with."""

    act: Callable[[Any, NDArray[np.float32]], Any]
    """Called with `model` and observations."""
    model: Any
    action: Actions
    n_columns: int | None = None
    """Columns of the observations that it reads, None where it does not say."""
    total_steps: int = 0
    """Environment steps that it has learned from, where it says."""
    parameters: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """By name; what is saved of it. Empty where the parameters are not torch's."""

    def actions(
        self, observations: NDArray[np.float32], parameters: Mapping[str, NDArray[Any]]
    ) -> NDArray[Any]:
        """Return what a copy of the model with these parameters does."""
        model = self.model
        if parameters:
            import torch  # noqa: PLC0415 - controls do without it

            model = copy.deepcopy(model)
            model.load_state_dict(
                {name: torch.from_numpy(np.array(value)) for name, value in parameters.items()}
            )
        return np.asarray(self.act(model, observations))


class GivenPolicyAgent(Agent[AgentConfig]):
    """A trained policy of another library, which learns nothing more: a fit notes what its table is like.

    `from_policy` makes a subclass of it and registers that.

    Attributes:
        policy: What it does.
    """

    config_class = AgentConfig
    uses_seed = False
    learns_by_reinforcement = True
    learns_from_table = False
    policy: ClassVar[GivenPolicy]

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        layout, policy = ObservationLayout.of(train), self.policy
        if policy.n_columns not in (None, len(layout)):
            raise UserError(
                f"expected a policy {self.name!r} that reads the {len(layout)} columns of this table's "
                f"observation, got one that reads {policy.n_columns}; train it on an environment of the same "
                "models, classes and body parts, without features (features='none')"
            )
        self.observation_names_, self.total_steps_ = layout.names, policy.total_steps
        self.arrays_ = {f"{_PREFIX}{name}": value for name, value in policy.parameters.items()}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        from agents.policy.networks.base import observe_with_parts  # noqa: PLC0415 - imports torch

        observations, _ = observe_with_parts(table, body_parts, self.body_part_names_)
        parameters = {name.removeprefix(_PREFIX): value for name, value in self.arrays_.items()}
        actions = self.policy.actions(observations, parameters)
        n, n_models = len(table), len(self.model_names_)
        one_number = self.policy.action == "select"
        shape = (n,) if one_number else (n, n_models)
        if one_number and actions.shape == (n, 1):
            actions = actions[:, 0]
        if actions.shape != shape or not np.isfinite(actions).all():
            raise UserError(
                f"expected finite actions of shape {shape} from the policy {self.name!r}, got shape "
                f"{actions.shape}; see the argument `action` of agents.from_policy"
            )
        if self.policy.action == "weights":
            return actions
        if one_number:
            chosen = actions.astype(np.int64)
            if ((chosen < 0) | (chosen >= n_models)).any():
                raise UserError(
                    f"expected actions from 0 to {n_models - 1}, a member each, of the policy {self.name!r}, "
                    f"got {chosen.min()} to {chosen.max()}"
                )
            return np.eye(n_models)[chosen]
        actions = actions.astype(np.float32)
        if self.policy.action == "simplex":
            return simplex_weights(actions).T
        references = log_reference(np.full((n_models, 1), 1 / n_models, dtype=np.float32))
        return softmax_weights(actions, action_scale(references), references).T

    def _check_arrays(self) -> None:
        for name, value in self.policy.parameters.items():
            self._require_shape(f"{_PREFIX}{name}", value.shape, value.dtype.kind)


def from_policy(name: str, model: Any, *, action: Actions | None = None) -> GivenPolicyAgent:
    """Register a trained policy as an agent, and return one that is not fitted yet.

    `run_benchmark`, `make_agent` and, with `--import FILE` of a file that calls this, every command know it
    by its name. It is to have learned on an `EnsembleWeighting` environment with a uniform reference; how
    observations were normalised there, it has to do itself.

    Of a model whose parameters are torch's, a saved agent holds these (safetensors); of any other, its name
    alone. No code is saved, so that loading needs the same call before: it gives the network, the file its
    parameters.

    Args:
        name: Name of the agent.
        model: An algorithm of stable-baselines3, or of a library with the same interface such as SBX
            (`policy.predict`, `action_space`); a torch module from observations to actions, TorchRL's too
            (of several outputs, that of the key `action` is taken); or a function from observations
            `(n_studies, n_columns)` float32, with columns as `mura_env.ObservationLayout` names them, to
            actions `(n_studies, n_models)`, `(n_studies,)` with `select`.
        action: What its actions are: the environment's `softmax`, `simplex` or `select`, or `weights`
            themselves. By default `select` for a model with a discrete action space, else `softmax`.

    Raises:
        UserError: If the model is none of these, or another agent has the name.
    """
    if action is not None and action not in get_args(Actions):
        raise UserError(
            f"expected action among {', '.join(get_args(Actions))} or None, got {shortened(action)}"
        )
    attributes = {
        "policy": _policy(model, action),
        "__module__": _MODULE,
        "__doc__": f"A trained {type(model).__name__} of the module {type(model).__module__}.",
    }
    made: type[GivenPolicyAgent] = type(name, (GivenPolicyAgent,), attributes)
    return register_agent(name)(made)()


def _policy(model: Any, action: Actions | None) -> GivenPolicy:
    torch = sys.modules.get("torch")  # a model of torch has imported it
    policy: Any = getattr(model, "policy", None)
    if hasattr(policy, "predict") and hasattr(model, "action_space"):
        discrete = hasattr(model.action_space, "n")
        shape = model.observation_space.shape
        # It may hold what it last did, with the graph of its gradients, which cannot be copied
        policy.predict(np.zeros((1, *shape), np.float32), deterministic=True)
        policy = copy.deepcopy(policy)  # it may learn on
        return GivenPolicy(
            _predict,
            policy,
            action or ("select" if discrete else "softmax"),
            n_columns=int(np.prod(shape)),
            total_steps=int(getattr(model, "num_timesteps", 0)),
            parameters=_parameters(policy) if torch and isinstance(policy, torch.nn.Module) else {},
        )
    if torch and isinstance(model, torch.nn.Module):
        return GivenPolicy(_forward, copy.deepcopy(model), action or "softmax", parameters=_parameters(model))
    if callable(model) and not isinstance(model, type):
        return GivenPolicy(_call, model, action or "softmax")
    raise UserError(
        "expected a model of stable-baselines3, a torch module or a function from observations to actions, "
        f"got {shortened(model)}"
    )


def _parameters(module: Any) -> dict[str, NDArray[Any]]:
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def _predict(policy: Any, observations: NDArray[np.float32]) -> Any:
    return policy.predict(observations, deterministic=True)[0]


def _forward(module: Any, observations: NDArray[np.float32]) -> Any:
    import torch  # noqa: PLC0415 - the module is of it

    was_training = module.training
    module.eval()
    with torch.no_grad():
        outputs = module(torch.from_numpy(observations))
    module.train(was_training)
    if isinstance(outputs, tuple):  # TorchRL's modules name theirs
        keys = [str(key) for key in getattr(module, "out_keys", ())]
        outputs = outputs[keys.index("action") if "action" in keys else 0]
    return outputs.cpu().numpy()


def _call(function: Any, observations: NDArray[np.float32]) -> Any:
    return function(observations)
