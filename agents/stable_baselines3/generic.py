"""Any other algorithm of stable-baselines3 or sb3-contrib, by its import path."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from agents.config import MAX_JOBS, MAX_STUDIES, MAX_UNITS, require_at_most
from agents.policy.decision_rules import Decide, choice_or_softmax
from agents.policy.monitor import Report, TrainingPlan
from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.registry import make_policy_network
from agents.policy.policy_agent import PolicyAgent
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead
from agents.stable_baselines3.options import AlgorithmConfig
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout


@dataclass(frozen=True, kw_only=True)
class StableBaselines3Config(AlgorithmConfig):
    """Options of an algorithm by its import path."""

    algorithm: str = "stable_baselines3.PPO"
    """Import path of the algorithm's class: any of stable-baselines3 and sb3-contrib, or one of your own
    derived from them. Only a fit imports it, loading a saved agent does not."""
    action: Literal["softmax", "select"] = "softmax"
    """What an action is: logits of the weights (softmax), or one member or the reference (select), which the
    classes for discrete actions alone need: DQN, QRDQN and MaskablePPO. They explore in their own way."""
    algorithm_options: str = "{}"
    """Arguments of the class as a JSON object, such as '{"policy_kwargs": {"log_std_init": -1}}'; they take
    precedence over the options here, and policy_kwargs are added to the agent's own."""
    total_steps: int = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    learning_rate: float = 0.01
    """Step size at the start; it falls linearly to zero."""
    studies_per_step: int = 64
    """Studies that a policy sees in one step of the environment; ARS tries each of its candidates on so
    many."""
    n_steps: int = 4
    """Steps of the environment between the updates of an on-policy algorithm."""
    batch_size: int = 128
    """Studies in a minibatch."""
    gradient_steps: int = 4
    """Updates of an off-policy algorithm after every step of the environment."""
    critic_size: int = 64
    """Units in each of the critic's two hidden layers, and in the LSTM of a recurrent algorithm."""
    n_jobs: int = 1
    """Processes that train policies; the result does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        module, _, name = self.algorithm.rpartition(".")
        if not all(part.isidentifier() for part in (*module.split("."), name)):
            raise UserError(
                "expected algorithm as an import path such as 'stable_baselines3.DDPG', "
                f"got {self.algorithm!r}"
            )
        for field in ("studies_per_step", "n_steps", "batch_size", "gradient_steps", "critic_size", "n_jobs"):
            if not getattr(self, field) > 0:
                raise UserError(f"expected {field} greater than 0, got {getattr(self, field)}")
        studies = self.studies_per_step * self.n_steps
        require_at_most(
            {
                "studies_per_step times n_steps": (studies, MAX_STUDIES),
                "batch_size": (self.batch_size, MAX_STUDIES),
                "critic_size": (self.critic_size, MAX_UNITS // 4),
                "n_jobs": (self.n_jobs, MAX_JOBS),
            }
        )


@register_agent("stable_baselines3")
class StableBaselines3(PolicyAgent[StableBaselines3Config]):
    """Weights, learned by a class of stable-baselines3 with its own policy and critic.

    The project's network is the features extractor; the actor is a linear head on it, which is saved as the
    project's own network (`agents.stable_baselines3.extracted_actor`), so that loading needs neither the
    library nor the class. Policies are trained one at a time. With the action `select` the actor's highest
    number decides, and the averaged policies have a vote each, as in the agent `dqn`.

    An episode is one study, so that the LSTM of a recurrent algorithm (RecurrentPPO) has an empty memory at
    every step; it is a hidden layer with gates between features and head. A random search (ARS) varies the
    parameters, not the actions: `exploration` has nothing to act on there.
    """

    config_class = StableBaselines3Config
    decide: ClassVar[Decide] = staticmethod(choice_or_softmax)
    trains_separately = True
    _lstm_units = 0

    def _action(self) -> Literal["softmax", "select"]:
        return self.config.action

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _network(self, layout: ObservationLayout, n_policies: int, seed: int = 0) -> ExtractedHead:
        selects = self.config.action == "select"
        generator, n_models = torch.Generator().manual_seed(seed), len(self.model_names_)
        network = make_policy_network(
            self.config, layout, n_models, n_policies, generator, with_average=selects
        )
        return (ExtractedHead if selects else ExtractedActor)(network, self._lstm_units)

    def _plan(self, *arguments: Any, **options: Any) -> TrainingPlan:
        from agents.stable_baselines3.generic_training import is_recurrent  # noqa: PLC0415 - see agents.stable_baselines3.ppo

        self._lstm_units = self.config.critic_size if is_recurrent(self.config.algorithm) else 0
        return super()._plan(*arguments, **options)

    def _check_arrays(self) -> None:
        # A loaded agent tells by its arrays whether its algorithm was recurrent: it imports no algorithm.
        recurrent = any(name.startswith("network.lstm.") for name in self.arrays_)
        self._lstm_units = self.config.critic_size if recurrent else 0
        super()._check_arrays()

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.generic_training import train_any  # noqa: PLC0415 - see agents.stable_baselines3.ppo

        assert isinstance(network, ExtractedHead)  # noqa: S101 - made by _network
        train_any(self.config, env, network, seed, report)
