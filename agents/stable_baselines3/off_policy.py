"""What the off-policy algorithms of stable-baselines3 have in common here."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch

from agents.policy.policy_agent import PolicyAgent
from agents.policy.policy_decision import Decide, squashed_softmax
from agents.policy.policy_networks import make_policy_network
from agents.policy.policy_stack_env import PolicyStackEnv
from agents.policy.stacked_network import StackedNetwork
from agents.stable_baselines3.algorithm_options import AlgorithmConfig


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(AlgorithmConfig):
    """Options of off-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 16_384
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    studies_per_step: int = 64
    """Studies that each policy sees in one step of the environment."""
    gradient_steps: int = 1
    """Updates after every step of the environment."""
    batch_size: int = 128
    """Studies from the replay buffer that each policy learns from in an update."""
    buffer_size: int = 16_384
    """Studies that the replay buffer keeps of each policy."""
    learning_rate: float = 0.05
    """Step size of Adam at the start, of actor and critic; it falls linearly to zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_step", "gradient_steps", "batch_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if self.buffer_size < self.studies_per_step:
            raise ValueError(
                f"expected buffer_size of at least studies_per_step, {self.studies_per_step}, "
                f"got {self.buffer_size}"
            )


@dataclass(frozen=True, kw_only=True)
class ActorCriticConfig(OffPolicyConfig):
    """Options of off-policy algorithms with an actor that follows a critic."""

    tau: float = 0.02
    """How far the target networks follow in an update; inert in episodes of one step."""
    critic_sharpness: float = 6.0
    """How steeply the critic's value rises where a class takes the lead in the weighted average."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.critic_sharpness > 0:
            raise ValueError(f"expected critic_sharpness greater than 0, got {self.critic_sharpness}")


OffPolicyConfigType = TypeVar("OffPolicyConfigType", bound=OffPolicyConfig)
ActorCriticConfigType = TypeVar("ActorCriticConfigType", bound=ActorCriticConfig)


class OffPolicyAgent(PolicyAgent[OffPolicyConfigType]):
    """An off-policy algorithm; a subclass writes `_train`."""

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1


class ActorCriticAgent(OffPolicyAgent[ActorCriticConfigType]):
    """An off-policy algorithm whose actor's action is a hyperbolic tangent."""

    decide: ClassVar[Decide] = staticmethod(squashed_softmax)

    def _policy_options(
        self, env: PolicyStackEnv, network: StackedNetwork, seed: int, **options: Any
    ) -> dict[str, Any]:
        """Return the arguments of the policy's class; a critic's network is like the actor's, from a seed."""
        config = self.config

        def critic_network(index: int) -> StackedNetwork:
            layout, n_models = network.layout, network.n_models
            generator = torch.Generator().manual_seed(seed + 7 + index)
            critic = make_policy_network(config, layout, n_models, network.n_policies, generator)
            critic.load_state_dict({**critic.state_dict(), **dict(network.named_buffers())})
            return critic

        common = {
            "network": network,
            "critic_networks": critic_network,
            "env": env,
            "exploration": config.exploration,
            "learn_exploration": getattr(config, "learn_exploration", False),
            "sharpness": config.critic_sharpness,
        }
        return common | options
