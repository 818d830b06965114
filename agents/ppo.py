"""Proximal policy optimisation by stable-baselines3, on the project's own policy network."""

from collections.abc import Callable
from dataclasses import dataclass

from agents.policy_agent import PolicyAgent, PolicyConfig
from agents.policy_network import PolicyNetwork
from agents.policy_stack_env import PolicyStackEnv
from agents.registry import register_agent


@dataclass(frozen=True, kw_only=True)
class PPOConfig(PolicyConfig):
    """Options of PPO; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 8_192
    """Environment steps per policy; one policy is trained for every inner fold and pull strength."""
    studies_per_step: int = 64
    """Studies that each policy sees in one step of the environment."""
    n_steps: int = 2
    """Steps of the environment between updates."""
    n_minibatches: int = 2
    """Parts that the studies of an update are cut into."""
    n_epochs: int = 4
    """Passes over the studies of an update."""
    clip_range: float = 0.2
    """How far the probability ratio may move from 1 in an update."""
    entropy_coefficient: float = 0.0
    """Weight of the entropy in the loss; only of use where the exploration is learned."""
    value_coefficient: float = 0.5
    """Weight of the value function's error in the loss."""
    learn_exploration: bool = False
    """Whether the standard deviation of the exploration is learned; it stays as it is if not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("studies_per_step", "n_steps", "n_minibatches", "n_epochs", "clip_range"):
            if not getattr(self, name) > 0:
                raise ValueError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if (self.studies_per_step * self.n_steps) % self.n_minibatches:
            raise ValueError(
                "expected n_minibatches to divide the studies of an update, "
                f"{self.studies_per_step * self.n_steps}, got {self.n_minibatches}"
            )


@register_agent("ppo")
class PPO(PolicyAgent[PPOConfig]):
    """Softmax weights, learned by PPO with a clipped probability ratio (Schulman et al. 2017).

    The actor is the project's own network, so that a saved agent is read without stable-baselines3. An
    episode is one study: discount factors have nothing to act on and are zero.
    """

    config_class = PPOConfig

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(
        self, env: PolicyStackEnv, network: PolicyNetwork, seed: int, report: Callable[[int], None]
    ) -> None:
        # Imported here: a saved agent weights studies without the time that stable-baselines3 takes to
        # import.
        from agents.stable_baselines3_training import train_ppo  # noqa: PLC0415

        train_ppo(self.config, env, network, seed, report)
