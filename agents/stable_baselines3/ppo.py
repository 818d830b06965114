"""Proximal policy optimisation by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.options import NO_CLIPPING, OnPolicyConfig
from mura_env.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PPOConfig(OnPolicyConfig):
    """Options of PPO; the defaults suit episodes of one step and wide batches."""

    studies_per_step: int = 128
    """Parallel environments of a policy: studies that it sees in one step."""
    n_steps: int = 1
    """Rollout length: steps of the environment between updates."""
    n_minibatches: int = 2
    """Minibatches: parts that the studies of an update are cut into."""
    n_epochs: int = 4
    """Epochs over the studies of an update."""
    clip_range: float = 0.2
    """How far the probability ratio may move from 1 in an update."""
    entropy_coefficient: float = 0.0
    """Entropy coefficient in the loss; only of use where the exploration is learned."""
    value_coefficient: float = 0.5
    """Value coefficient: weight of the critic's error in the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_minibatches", "n_epochs", "clip_range"):
            if not getattr(self, name) > 0:
                raise UserError(f"expected {name} greater than 0, got {getattr(self, name)}")
        if (self.studies_per_step * self.n_steps) % self.n_minibatches:
            raise UserError(
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

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.on_policy import train_on_policy  # noqa: PLC0415

        config = self.config
        train_on_policy(
            "stable_baselines3.PPO",
            config,
            env,
            network,
            seed=seed,
            report=report,
            batch_size=env.num_envs * config.n_steps // config.n_minibatches,
            n_epochs=config.n_epochs,
            clip_range=config.clip_range,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            max_grad_norm=NO_CLIPPING,
        )
