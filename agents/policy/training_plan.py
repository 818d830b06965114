"""What one seed's training begins with: folds, new policies, and who watches them."""

from dataclasses import dataclass, field

from torch import Tensor

from agents.policy.inner_folds import InnerFold
from agents.policy.reference import Reference
from agents.policy.stacked_network import StackedNetwork
from agents.policy.training_watch import TrainingWatch


@dataclass
class TrainingPlan:
    """All that a training needs beside its algorithm."""

    seed: int
    """Seed of every random choice."""
    reference: Reference
    """The kind of reference weights."""
    folds: list[InnerFold]
    """Who learns from what; without any, nothing is learned."""
    network: StackedNetwork
    """The policies before training, one for every fold and strength of the pull."""
    first_state: dict[str, Tensor]
    """State of a single new policy, which stands for the reference."""
    watch: TrainingWatch = field(init=False)
    """Who scores the policies and tells of it; set where there are folds."""
