"""What every agent that learns by reinforcement shares: folds, the pull to a reference, and averaging."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from agents.agent import Agent, Callback, Progress
from agents.inner_folds import contested, fold_pairs, inner_folds
from agents.policy_network import PolicyNetwork
from agents.policy_selection import PolicySelection
from agents.policy_stack_env import PolicyStackEnv
from agents.reference import ReferenceChoice, choose_reference, reference_weights
from mura_env import Predictions
from mura_env.combination import action_scale, log_reference, softmax_weights
from mura_env.observations import ObservationLayout, observe
from mura_env.rewards import depends_on_prediction_only, make_reward

_CHUNK = 16_384
_NETWORK = "network."


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Options of every agent that learns by reinforcement."""

    total_steps: int = 50_000
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    reward: str = "correctness"
    """Name of the reward."""
    reference: ReferenceChoice = "chosen"
    """Weights that the policy is a residual on: uniform, static, static_per_body_part, or chosen (static
    where it beats uniform on the inner folds)."""
    kl_strengths: tuple[float, ...] = (0.0, 0.03, 0.1, 0.3)
    """Strengths of the pull towards the reference to choose from on inner folds, in ascending order."""
    n_folds: int = 5
    """Inner folds by patient, and policies whose weights are averaged."""
    n_checkpoints: int = 10
    """How often in a training the policies are scored on their held-out fold."""
    min_contested: int = 20
    """With fewer studies whose members disagree, nothing is learned and the reference is returned."""
    hidden_size: int = 16
    """Units in the hidden layer of the policy network's shared head."""
    exploration: float = 1.0
    """Standard deviation of the exploration, in logits of the weights."""
    learning_rate: float = 0.1
    """Step size of Adam at the start; it falls linearly to zero."""

    def __post_init__(self) -> None:
        for name in ("total_steps", "n_checkpoints", "hidden_size", "exploration", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if self.n_folds < 2:
            raise ValueError(f"expected n_folds of at least 2, got {self.n_folds}")
        strengths = self.kl_strengths
        if not strengths or list(strengths) != sorted(set(strengths)) or strengths[0] < 0:
            raise ValueError(f"expected kl_strengths in ascending order from 0 upwards, got {strengths}")
        make_reward(self.reward)


ConfigType = TypeVar("ConfigType", bound=PolicyConfig)


class PolicyAgent(Agent[ConfigType]):
    """A weighting policy that is a residual on reference weights.

    The training table is cut into inner folds by patient. For every fold and every strength of the pull
    towards the reference, one policy learns from the other folds, all of them side by side, and is scored on
    the fold left out. The strength and the moment with the best score over all folds together are kept, and
    the weights of their policies, one per fold, are averaged. If nothing beats the reference, the reference
    is returned. A verdict can only change where the members disagree, so only such studies are shown if the
    reward depends on the verdict alone.

    In the learning curve, `expected_reward` is the mean reward of the exploring policies on the studies
    shown, `accuracy` that of the deterministic ones on all held-out studies, beside `reference_accuracy`.

    A subclass writes `_train`.
    """

    learns_by_reinforcement = True

    @abstractmethod
    def _env_width(self) -> tuple[int, int]:
        """Return the rows per policy and how many neighbouring rows show the same study."""

    @abstractmethod
    def _train(
        self, env: PolicyStackEnv, network: PolicyNetwork, seed: int, report: Callable[[int], None]
    ) -> None:
        """Train the network on the environment.

        Args:
            env: The environment; only its `reset` and `step` tell anything about rewards.
            network: To be trained in place.
            seed: Seed of every random choice.
            report: To be called after every update with the steps that each policy has made.
        """

    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        config = self.config
        layout = ObservationLayout.of(train)
        self.observation_names_ = layout.names
        all_studies = not depends_on_prediction_only(make_reward(config.reward))
        pairs = fold_pairs(train, validation, config.n_folds, seed)
        reference = choose_reference(pairs, config.reference)
        folds = []
        if all_studies or contested(train).sum() >= config.min_contested:
            folds = inner_folds(pairs, reference, all_studies)
        network = self._network(layout, max(1, len(folds) * len(config.kl_strengths)), seed)
        network.standardise(observe(train))
        state = {name: value.clone() for name, value in network.subset(slice(1)).state_dict().items()}
        if folds:
            width, draws = self._env_width()
            env = PolicyStackEnv(folds, config.kl_strengths, width, config.reward, draws)
            selection = PolicySelection(folds, config.kl_strengths, config.reward)
            watch = _Watch(self, env, network, selection, progress=progress, callback=callback)
            with single_thread():
                self._train(env, network, seed, watch.report)
            env.close()
            watch.finish()
            if selection.kept is not None:
                state = selection.kept.state
        self.arrays_ = {"reference": reference_weights(train, reference)}
        self.arrays_ |= {f"{_NETWORK}{name}": value.numpy().copy() for name, value in state.items()}

    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        own = replace(
            table,
            body_parts=np.minimum(body_parts, len(self.body_part_names_) - 1),
            body_part_names=self.body_part_names_,
        )
        layout = ObservationLayout.of(own)
        observations = observe(own)
        observations[body_parts == len(self.body_part_names_), layout.columns("body_part")] = 0.0
        network = self._restored(layout)
        log_references = log_reference(self.arrays_["reference"].T)
        scale = action_scale(log_references[:, :-1])
        weights = np.zeros((len(table), table.n_models))
        with single_thread(), torch.no_grad():
            for start in range(0, len(table), _CHUNK):
                rows = slice(start, start + _CHUNK)
                batch = torch.from_numpy(observations[rows]).expand(network.n_policies, -1, -1)
                references = log_references[:, body_parts[rows]]
                for logits in network(batch).numpy():
                    weights[rows] += softmax_weights(np.clip(logits / scale, -1.0, 1.0), scale, references).T
        return weights

    def _network(self, layout: ObservationLayout, n_policies: int, seed: int = 0) -> PolicyNetwork:
        generator = torch.Generator().manual_seed(seed)
        return PolicyNetwork(layout, len(self.model_names_), n_policies, self.config.hidden_size, generator)

    def _restored(self, layout: ObservationLayout) -> PolicyNetwork:
        n_policies = len(self.arrays_[f"{_NETWORK}offset"])
        network = self._network(layout, n_policies)
        state = {
            name.removeprefix(_NETWORK): torch.from_numpy(array)
            for name, array in self.arrays_.items()
            if name.startswith(_NETWORK)
        }
        network.load_state_dict(state)
        return network

    def _check_arrays(self) -> None:
        n_models, n_classes, n_parts = map(len, (self.model_names_, self.class_names_, self.body_part_names_))
        example = Predictions.from_arrays(
            np.zeros((1, n_models, n_classes), np.float32),
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
            model_names=self.model_names_,
            class_names=self.class_names_,
            body_part_names=self.body_part_names_,
        )
        layout = ObservationLayout.of(example)
        if self.observation_names_ != layout.names:
            raise ValueError(
                f"expected an agent that reads the {len(layout)} observation columns of this version, got "
                f"{len(self.observation_names_)} others; fit the agent again"
            )
        self._require_shape("reference", (n_parts + 1, n_models))
        policies = self.arrays_.get(f"{_NETWORK}offset", np.empty(0)).shape[:1]
        network = self._network(layout, max(1, *policies))
        for name, value in network.state_dict().items():
            self._require_shape(f"{_NETWORK}{name}", tuple(value.shape))


class _Watch:
    """Scores the stack at every checkpoint and tells progress, callback and learning curve."""

    def __init__(
        self,
        agent: PolicyAgent[Any],
        env: PolicyStackEnv,
        network: PolicyNetwork,
        selection: PolicySelection,
        *,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        self._agent, self._env, self._network, self._selection = agent, env, network, selection
        self._progress, self._callback = progress, callback
        self._rewards: list[NDArray[np.float64]] = []
        self._steps: list[int] = []

    def report(self, steps: int) -> None:
        """Take notice that every policy has made so many steps."""
        config = self._agent.config
        self._agent.total_steps_ = steps * self._env.n_policies
        if self._progress is not None:
            self._progress(f"training {self._agent.name}", min(steps, config.total_steps), config.total_steps)
        if steps * config.n_checkpoints < config.total_steps * (len(self._steps) + 1):
            return
        self._selection.score(self._network)
        self._steps.append(steps)
        by_fold = self._env.mean_rewards().reshape(-1, len(config.kl_strengths))
        self._rewards.append(by_fold.mean(axis=0))
        if self._callback is not None:
            self._callback(self._row(len(self._steps) - 1))

    def finish(self) -> None:
        """Write the learning curve of the pull strength that was kept."""
        self._agent.learning_curve_ = [self._row(index) for index in range(len(self._steps))]

    def _row(self, index: int) -> dict[str, float]:
        kept = self._selection.kept
        strength = -1 if kept is None else kept.strength
        return {
            "steps": float(self._steps[index]),
            "expected_reward": float(self._rewards[index][strength]),
            "accuracy": float(self._selection.accuracies[index][strength]),
            "reference_accuracy": float(self._selection.reference_accuracy),
        }


@contextmanager
def single_thread() -> Iterator[None]:
    """Let torch use one thread, so that sums have one order whatever the number of processors."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
