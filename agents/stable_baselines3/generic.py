"""Any other algorithm of stable-baselines3 or sb3-contrib, by its import path."""

from typing import ClassVar, Literal

import torch

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.selection import DecisionRule, choice_or_softmax
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.extracted_actor import ExtractedActor, ExtractedHead
from agents.stable_baselines3.options import StableBaselines3Config
from mura_env.observations import ObservationLayout


@register_agent("stable_baselines3")
class StableBaselines3(PolicyAgent[StableBaselines3Config]):
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

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _network(
        self, layout: ObservationLayout, n_policies: int, generator: torch.Generator | None = None
    ) -> ExtractedHead:
        network = super()._network(layout, n_policies, generator)
        return (ExtractedHead if self.config.action == "select" else ExtractedActor)(network)

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.generic_training import train_any  # noqa: PLC0415

        assert isinstance(network, ExtractedHead)  # noqa: S101 - made by _network
        train_any(self.config, env, network, seed, report)
