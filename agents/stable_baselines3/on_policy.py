"""What the on-policy algorithms of stable-baselines3 have in common here."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from agents.config import MAX_STUDIES, require_at_most
from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.stacked_env import PolicyStackEnv
from agents.stable_baselines3.options import AlgorithmConfig
from mura_env.errors import UserError


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
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        studies = self.studies_per_step * self.n_steps
        require_at_most({"studies_per_step times n_steps": (studies, MAX_STUDIES)})


OnPolicyConfigType = TypeVar("OnPolicyConfigType", bound=OnPolicyConfig)


class OnPolicyAgent(PolicyAgent[OnPolicyConfigType]):
    """An on-policy algorithm; a subclass names it and writes `_arguments`.

    Attributes:
        algorithm: Import path of its class. It is imported when a training begins: a saved agent weights
            studies without the time that stable-baselines3 takes to import.
    """

    algorithm: ClassVar[str]

    @abstractmethod
    def _arguments(self, env: PolicyStackEnv) -> dict[str, Any]:
        """Return the arguments of the class that are particular to it."""

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        from agents.stable_baselines3.on_policy_training import train_on_policy  # noqa: PLC0415 - see above

        train_on_policy(
            self.algorithm, self.config, env, network, seed=seed, report=report, **self._arguments(env)
        )
