"""Proximal policy optimisation with action masks, of sb3-contrib."""

from dataclasses import dataclass

from agents.config import Coefficient, LearningRate, Passes, Steps, Studies
from agents.consultation.cascades import Cascades
from agents.consultation.lattice import Lattice
from agents.consultation.policy import Arrays, LearnedConsultationAgent, PolicyConfig
from agents.registry import register_consultation_agent
from mura_env import Predictions


@dataclass(frozen=True, kw_only=True)
class MaskablePPOConfig(PolicyConfig):
    """Options of MaskablePPO; the defaults suit short episodes and wide batches."""

    total_steps: Steps = 100_000
    """Questions and answers that each policy learns from; one is trained for every inner fold."""
    studies_per_step: Studies = 128
    """Parallel environments."""
    n_steps: Studies = 16
    """Rollout length: steps of the environment between updates."""
    n_epochs: Passes = 5
    """Passes over each rollout."""
    batch_size: Studies = 512
    """Studies in a minibatch."""
    learning_rate: LearningRate = 0.003
    """Learning rate of Adam at the start; it falls linearly to zero."""
    entropy_coefficient: Coefficient = 0.003
    """Entropy coefficient."""


@register_consultation_agent("maskable_ppo")
class MaskablePPO(LearnedConsultationAgent[MaskablePPOConfig]):
    """Learns from the environment's steps alone, which member to ask next (Huang and Ontañón 2022).

    The policy is saved as the project's own network, so that a saved agent is read without the library.
    """

    config_class = MaskablePPOConfig
    learns_by_reinforcement = True

    def _trained(self, learn: Lattice, table: Predictions, teacher: Cascades, seed: int) -> Arrays:
        from agents.consultation.maskable_training import train_maskable  # noqa: PLC0415 - takes a second

        arrays, steps = train_maskable(self.config, learn, table, seed)
        self.total_steps_ += steps
        return arrays
