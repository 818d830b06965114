"""Advantage actor-critic by stable-baselines3, on the project's own policy network."""

from dataclasses import dataclass

from agents.policy.monitor import Report
from agents.policy.networks.base import StackedNetwork
from agents.policy.policy_agent import PolicyAgent
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.options import NO_CLIPPING, OnPolicyConfig


@dataclass(frozen=True, kw_only=True)
class A2CConfig(OnPolicyConfig):
    """Options of A2C; the defaults suit episodes of one step and wide batches."""

    total_steps: int = 25_600
    """Environment steps per policy; one policy is trained for every inner fold and KL coefficient."""
    n_steps: int = 1
    """Rollout length: steps of the environment between updates."""
    learning_rate: float = 0.1
    """Learning rate at the start; it falls linearly to zero."""
    normalize_advantage: bool = True
    """Whether the advantages of an update are standardised."""
    use_rms_prop: bool = False
    """Whether RMSprop is the optimizer, as in the paper, instead of Adam."""
    entropy_coefficient: float = 0.0
    """Entropy coefficient in the loss; only of use where the exploration is learned."""
    value_coefficient: float = 0.5
    """Value coefficient: weight of the critic's error in the loss."""


@register_agent("a2c")
class A2C(PolicyAgent[A2CConfig]):
    """Softmax weights, learned by advantage actor-critic (Mnih et al. 2016), without its parallel workers.

    The actor is the project's own network; see `agents.stable_baselines3.ppo.PPO`. Each batch is learned
    from once.
    """

    config_class = A2CConfig

    def _env_width(self) -> tuple[int, int]:
        return self.config.studies_per_step, 1

    def _train(self, env: PolicyStackEnv, network: StackedNetwork, seed: int, report: Report) -> None:
        # Not imported above: a saved agent weights studies without the time that the library takes to import.
        from agents.stable_baselines3.on_policy import train_on_policy  # noqa: PLC0415

        config = self.config
        train_on_policy(
            "stable_baselines3.A2C",
            config,
            env,
            network,
            seed=seed,
            report=report,
            use_rms_prop=config.use_rms_prop,
            normalize_advantage=config.normalize_advantage,
            ent_coef=config.entropy_coefficient,
            vf_coef=config.value_coefficient,
            max_grad_norm=NO_CLIPPING,
        )
