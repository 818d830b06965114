"""Trust-region policy optimisation by sb3-contrib, on the project's own policy network."""

from dataclasses import dataclass
from typing import Annotated, Any

from agents.config import Coefficient, Passes, Studies
from agents.policy.stacked_env import PolicyStackEnv
from agents.registry import register_agent
from agents.stable_baselines3.base import OnPolicyAgent, OnPolicyConfig
from mura_env.utils.options import Jobs, Range


@dataclass(frozen=True, kw_only=True)
class TRPOConfig(OnPolicyConfig):
    """Options of TRPO; the defaults suit episodes of one step and wide batches."""

    studies_per_step: Studies = 256
    """Parallel environments of a policy: studies that it sees in one step."""
    target_kl: Annotated[float, Range("(0, 100]")] = 0.05
    """Trust region: mean KL divergence of an update, in nats, at most."""
    cg_max_steps: Passes = 10
    """Iterations of the conjugate gradient method that finds the direction."""
    cg_damping: Coefficient = 0.01
    """Damping: what is added to the diagonal of the Fisher matrix."""
    line_search_max_iter: Passes = 10
    """Backtracking steps of the line search, at most."""
    n_critic_updates: Passes = 5
    """Epochs of the critic over the studies of an update."""
    n_jobs: Jobs = 1
    """Processes that train policies; the result does not depend on it."""


@register_agent("trpo")
class TRPO(OnPolicyAgent[TRPOConfig]):
    """Softmax weights, learned by TRPO (Schulman et al. 2015).

    The trust region is one policy's own, so policies are trained one at a time.
    """

    algorithm = "sb3_contrib.TRPO"
    config_class = TRPOConfig
    trains_independently = True

    def _arguments(self, env: PolicyStackEnv) -> dict[str, Any]:
        config = self.config
        return {
            "batch_size": env.num_envs * config.n_steps,
            "target_kl": config.target_kl,
            "cg_max_steps": config.cg_max_steps,
            "cg_damping": config.cg_damping,
            "line_search_max_iter": config.line_search_max_iter,
            "n_critic_updates": config.n_critic_updates,
        }
