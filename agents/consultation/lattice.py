"""All subsets of questions about the studies of a table: what is seen, earned and paid after each."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mura_env import Predictions
from mura_env.combination import FloatArray, IntArray
from mura_env.consultation.heads import Head, all_subsets
from mura_env.consultation.task import ConsultationTask


@dataclass(frozen=True)
class Lattice:
    """The whole decision problem of some studies; subsets are numbered as `all_subsets` orders them."""

    observations: FloatArray
    """float32 ``(n_subsets, n_studies, n_columns)``, at a price of 1."""
    rewards: FloatArray
    """Reward of answering, float32 ``(n_subsets, n_studies)``."""
    confidences: FloatArray
    """The answers' highest probabilities, float32 ``(n_subsets, n_studies)``."""
    answers: FloatArray
    """The answers' class probabilities, float32 ``(n_subsets, n_classes, n_studies)``."""
    costs: FloatArray
    """What each member costs, float32 ``(n_models, n_studies)``."""
    cost_unit: float
    """The cost that counts as 1."""
    body_parts: IntArray
    """int64 ``(n_studies,)``."""
    n_body_parts: int

    @classmethod
    def of(cls, table: Predictions, head: Head | FloatArray, reward: str) -> "Lattice":
        """Return the lattice of all studies of a table, with a head or the answers to all subsets."""
        task = ConsultationTask(table, head=head, reward=reward)
        observations = task.columns.of_all_subsets()
        state = task.begin(np.arange(len(table)), np.zeros(len(table), dtype=np.float32))
        rewards = np.empty(observations.shape[:2], dtype=np.float32)
        for subset, members in enumerate(all_subsets(table.n_models)):
            state.consulted[:] = members[:, None]
            rewards[subset] = task.rewards(task.answer(state, observations[subset]))
        return cls(
            observations=observations,
            rewards=rewards,
            confidences=np.ascontiguousarray(observations[:, :, -3]),
            answers=observations[:, :, task.columns.answer].transpose(0, 2, 1),
            costs=task.costs,
            cost_unit=task.cost_unit,
            body_parts=table.body_parts,
            n_body_parts=len(table.body_part_names),
        )

    @property
    def n_models(self) -> int:
        """Number of members."""
        return len(self.costs)

    def select(self, rows: NDArray[np.bool_] | IntArray) -> "Lattice":
        """Return the lattice of some of the studies."""
        return replace(
            self,
            observations=self.observations[:, rows],
            rewards=self.rewards[:, rows],
            confidences=self.confidences[:, rows],
            answers=self.answers[..., rows],
            costs=self.costs[:, rows],
            body_parts=self.body_parts[rows],
        )

    def values(self, actions: NDArray[np.integer], price: float) -> NDArray[np.float64]:
        """Return what a policy earns in each study by dynamic programming, less the price: ``(n_studies,)``.

        Args:
            actions: Its action after every subset, ``(n_subsets, n_studies)``; a member asked already, or
                ``n_models``, is the answer.
            price: Reward that a cost of 1 is worth.
        """
        values = self.rewards.astype(np.float64)
        for subset in reversed(range(len(values) - 1)):
            for member in range(self.n_models):
                if not subset >> member & 1:
                    asks = actions[subset] == member
                    further = values[subset | 1 << member] - price * self.costs[member]
                    values[subset, asks] = further[asks]
        earned: NDArray[np.float64] = values[0]
        return earned
