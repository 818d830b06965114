"""Algorithms of SBX, which is Stable-Baselines3 in JAX; what they learn is kept and used without JAX."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from agents.config import LearningRate, Passes, Steps, Studies, Units
from agents.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.mlp import MLPNetwork
from agents.policy.selection import DecisionRule, choice_or_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import AlgorithmAgent, AlgorithmConfig
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead
from mura_env.observations import ObservationLayout
from mura_env.utils.options import Jobs


@dataclass(frozen=True, kw_only=True)
class SBXConfig(AlgorithmConfig):
    """Options of the algorithms of SBX."""

    algorithm: Literal["PPO", "SAC", "TQC", "TD3", "DDPG", "DQN"] = "PPO"
    """Class of SBX. An action of DQN is one member or the reference, of the others logits of the weights."""
    algorithm_options: str = "{}"
    """Arguments of the class as a JSON object, such as '{"ent_coef": 0.01}'; they take precedence over the
    options here, and policy_kwargs are added to the agent's own."""
    total_steps: Steps = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    network: Literal["mlp"] = "mlp"
    """Policy network: a plain one of two hidden layers on the whole observation, which is SBX's own."""
    hidden_size: Units = 32
    """Units in each hidden layer of actor and critic."""
    learning_rate: LearningRate = 0.005
    """Learning rate at the start; it falls linearly to zero with PPO, SAC and TQC."""
    n_steps: Studies = 4
    """Rollout length: steps of the environment between the updates of PPO."""
    batch_size: Studies = 128
    """Batch size: studies in a minibatch."""
    gradient_steps: Passes = 16
    """Gradient steps of an algorithm other than PPO after every step of the environment."""
    n_jobs: Jobs = 1
    """Processes that train policies; the result does not depend on it."""


@register_agent("sbx")
class SBX(AlgorithmAgent[SBXConfig]):
    """Weights, learned by a class of SBX (Stable-Baselines3 in JAX) with its own actor and critic.

    Only a fit needs SBX and JAX. Policies are trained one at a time, each on its inner fold; the actor, three
    dense layers, is copied to a network in torch, which is scored, selected, saved and averaged as those of
    the other agents are. With DQN each of the averaged policies has a vote, as in the agent `dqn`.
    """

    config_class = SBXConfig
    decide: ClassVar[DecisionRule] = staticmethod(choice_or_softmax)
    trains_independently = True

    def _action(self) -> Literal["softmax", "select"]:
        return "select" if self.config.algorithm == "DQN" else "softmax"

    def _scores_average(self) -> bool:
        return self.config.algorithm == "DQN"

    def _network(
        self, layout: ObservationLayout, n_policies: int, generator: torch.Generator | None = None
    ) -> ExtractedHead:
        network = DenseNetwork(
            layout,
            len(self.model_names_),
            n_policies,
            self.config.hidden_size,
            generator,
            with_average=self._scores_average(),
        )
        return (ExtractedHead if self.config.algorithm == "DQN" else ExtractedActor)(network)

    def _fit(self, *arguments: Any, **options: Any) -> None:
        from agents.stable_baselines3.sbx_training import imported_sbx  # noqa: PLC0415 - as in _train

        imported_sbx()  # before anything is computed
        super()._fit(*arguments, **options)

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.sbx_training import train_sbx  # noqa: PLC0415 - takes a second

        assert isinstance(network, ExtractedHead)  # noqa: S101 - made by _network
        train_sbx(self.config, env, network, seed, report)


class DenseNetwork(MLPNetwork):
    """The actor of SBX in torch: two hidden layers of hyperbolic tangents on standardised columns."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        size = self.hidden_size
        self.middle_weight = self._uniform(size, self.n_policies, size, size)
        self.middle_bias = nn.Parameter(torch.zeros(self.n_policies, 1, size))

    def hidden(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the second hidden layer `(n_policies, n, 1, hidden_size)` and the study's own columns."""
        first, study = super().hidden(inputs)
        second = torch.tanh(first.squeeze(2) @ self.middle_weight + self.middle_bias)
        return second.unsqueeze(2), study

    def scores(self, hidden: Tensor, study: Tensor) -> Tensor:
        """Score the members from what `hidden` returned."""
        return hidden.squeeze(2) @ self.output_weight + self.offset

    def layers(self) -> list[tuple[nn.Parameter, nn.Parameter]]:
        """Return weight and bias of each layer."""
        return [
            (self.input_weight, self.hidden_bias),
            (self.middle_weight, self.middle_bias),
            (self.output_weight, self.offset),
        ]
