"""Any other algorithm of stable-baselines3 or sb3-contrib, by its import path."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch

from agents.config import LearningRate, Passes, Steps, Studies
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.selection import DecisionRule, choice_or_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import AlgorithmAgent, AlgorithmConfig
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead
from mura_env.errors import UserError
from mura_env.observations import ObservationLayout
from mura_env.utils.options import Jobs, Range


@dataclass(frozen=True, kw_only=True)
class StableBaselines3Config(AlgorithmConfig):
    """Options of an algorithm by its import path."""

    algorithm: str = "stable_baselines3.PPO"
    """Import path of the algorithm's class: any of stable-baselines3 and sb3-contrib but RecurrentPPO and
    ARS, or one of your own derived from them. Only a fit imports it, loading a saved agent does not."""
    action: Literal["softmax", "select"] = "softmax"
    """What an action is: logits of the weights (softmax), or one member or the reference (select), which the
    classes for discrete actions alone need: DQN, QRDQN and MaskablePPO. They explore in their own way."""
    algorithm_options: str = "{}"
    """Arguments of the class as a JSON object, such as '{"policy_kwargs": {"log_std_init": -1}}'; they take
    precedence over the options here, and policy_kwargs are added to the agent's own."""
    total_steps: Steps = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    learning_rate: LearningRate = 0.01
    """Learning rate at the start; it falls linearly to zero."""
    n_steps: Studies = 4
    """Rollout length: steps of the environment between the updates of an on-policy algorithm."""
    batch_size: Studies = 128
    """Batch size: studies in a minibatch."""
    gradient_steps: Passes = 4
    """Gradient steps of an off-policy algorithm after every step of the environment."""
    critic_size: Annotated[int, Range("[1, 4096]")] = 64
    """Units in each of the critic's two hidden layers."""
    n_jobs: Jobs = 1
    """Processes that train policies; the result does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        module, _, name = self.algorithm.rpartition(".")
        if not all(part.isidentifier() for part in (*module.split("."), name)):
            raise UserError(
                "expected algorithm as an import path such as 'stable_baselines3.DDPG', "
                f"got {self.algorithm!r}"
            )


@register_agent("stable_baselines3")
class StableBaselines3(AlgorithmAgent[StableBaselines3Config]):
    """Weights, learned by a class of stable-baselines3 with its own policy and critic.

    The project's network is the features extractor; the actor is a linear head on it, which is saved as the
    project's own network (`agents.stable_baselines3.extracted_actor`), so that loading needs neither the
    library nor the class. Policies are trained one at a time. With the action `select` the actor's highest
    number decides, and the averaged policies have a vote each, as in the agent `dqn`.

    An algorithm with a memory (RecurrentPPO), which has nothing to remember in episodes of one study, and one
    that searches parameters without gradients (ARS) are refused.
    """

    config_class = StableBaselines3Config
    decide: ClassVar[DecisionRule] = staticmethod(choice_or_softmax)
    trains_independently = True

    def _action(self) -> Literal["softmax", "select"]:
        return self.config.action

    def _scores_average(self) -> bool:
        return self.config.action == "select"

    def _network(
        self, layout: ObservationLayout, n_policies: int, generator: torch.Generator | None = None
    ) -> ExtractedHead:
        network = super()._network(layout, n_policies, generator)
        return (ExtractedHead if self.config.action == "select" else ExtractedActor)(network)

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.generic_training import train_any  # noqa: PLC0415 - takes a second

        assert isinstance(network, ExtractedHead)  # noqa: S101 - made by _network
        train_any(self.config, env, network, seed, report)
