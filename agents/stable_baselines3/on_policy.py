"""What the on-policy algorithms of stable-baselines3 have in common here."""

from dataclasses import dataclass
from typing import TypeVar

from agents.policy.policy_agent import PolicyAgent
from agents.stable_baselines3.algorithm_options import AlgorithmConfig


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(AlgorithmConfig):
    """Options of on-policy algorithms; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    studies_per_step: int = 64
    """Studies that each policy sees in one step of the environment."""
    n_steps: int = 2
    """Steps of the environment between updates."""
    learn_exploration: bool = False
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_step", "n_steps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} greater than 0, got {getattr(self, name)}")


OnPolicyConfigType = TypeVar("OnPolicyConfigType", bound=OnPolicyConfig)


class OnPolicyAgent(PolicyAgent[OnPolicyConfigType]):
    """An on-policy algorithm; a subclass writes `_train`."""

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1
