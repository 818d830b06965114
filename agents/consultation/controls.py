"""Controls of consultation: fixed subsets, cascades, and the myopic value of information."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.consultation.agent import ConfigType, ConsultationAgent, ConsultationConfig, View
from agents.consultation.cascades import Cascades
from agents.consultation.lattice import Lattice
from agents.registry import register_consultation_agent
from mura_env import Predictions
from mura_env.combination import IntArray
from mura_env.consultation.heads import all_subsets
from mura_env.errors import UserError
from mura_env.utils.options import Range


class FixedSubset(ConsultationAgent[ConfigType]):
    """Base class of agents that ask the same members about every study of a body part."""

    @abstractmethod
    def _subsets(self, price: float) -> IntArray:
        """Return the number of the subset to ask of each body part, ``(n_body_parts + 1,)``."""

    def _act(self, view: View) -> IntArray:
        wanted = all_subsets(len(view.consulted))[self._subsets(view.price)[view.body_parts]].T
        missing = wanted & ~view.consulted
        return np.where(missing.any(axis=0), missing.argmax(axis=0), len(missing))


@register_consultation_agent("full_ensemble")
class FullEnsemble(FixedSubset[ConsultationConfig]):
    """Asks all members, whatever the price."""

    config_class = ConsultationConfig

    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> dict[str, NDArray[Any]]:
        return {}

    def _subsets(self, price: float) -> IntArray:
        return np.full(len(self.body_part_names_) + 1, 2 ** len(self.model_names_) - 1)


@dataclass(frozen=True, kw_only=True)
class BestSubsetConfig(ConsultationConfig):
    """Options of the best fixed subset."""

    size: Annotated[int, Range("[0, 8]")] = 0
    """Members that are asked; 0 for as many as pay at the price."""
    min_studies: Annotated[int, Range("[1, 1000000000]")] = 50
    """With fewer studies of a body part, it gets the subset that is best over all parts."""


@register_consultation_agent("best_subset")
class BestSubset(FixedSubset[BestSubsetConfig]):
    """Asks the fixed subset, of a size or of any, that earned most on the training table less its price."""

    config_class = BestSubsetConfig
    by_part: ClassVar[bool] = False

    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> dict[str, NDArray[Any]]:
        n_parts = lattice.n_body_parts
        costs = all_subsets(lattice.n_models).astype(np.float64) @ lattice.costs
        rows = [lattice.body_parts == part for part in range(n_parts - 1)]
        own = [self.by_part and row.sum() >= self.config.min_studies for row in rows]
        everything = np.ones(len(lattice.body_parts), dtype=np.bool_)
        chosen = [
            row if is_own else everything
            for row, is_own in zip([*rows, everything], [*own, False], strict=True)
        ]
        return {
            "subset_rewards": np.stack(
                [lattice.rewards[:, row].mean(axis=1, dtype=np.float64) for row in chosen]
            ),
            "subset_costs": np.stack([costs[:, row].mean(axis=1) for row in chosen]),
        }

    def _subsets(self, price: float) -> IntArray:
        earned = self.arrays_["subset_rewards"] - price * self.arrays_["subset_costs"]
        sizes = all_subsets(len(self.model_names_)).sum(axis=1)
        if self.config.size:
            size = min(self.config.size, len(self.model_names_))
            earned = np.where(sizes == size, self.arrays_["subset_rewards"], -np.inf)
        return np.asarray(earned.argmax(axis=1))

    def _check_arrays(self) -> None:
        super()._check_arrays()
        shape = len(self.body_part_names_) + 1, 2 ** len(self.model_names_)
        self._require_shape("subset_rewards", shape)
        self._require_shape("subset_costs", shape)


@register_consultation_agent("best_subset_per_body_part")
class BestSubsetPerBodyPart(BestSubset):
    """As `best_subset`, chosen for each body part that has enough studies."""

    by_part = True


@register_consultation_agent("cascade")
class Cascade(ConsultationAgent[ConsultationConfig]):
    """Asks in a fixed order until the answer is confident enough; order and thresholds tuned for each price.

    Viola and Jones, Rapid object detection using a boosted cascade of simple features, 2001. The thresholds
    are those that earn most on cross-fitted answers, found backwards from the last question.
    """

    config_class = ConsultationConfig
    by_part: ClassVar[bool] = False

    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> dict[str, NDArray[Any]]:
        return Cascades.fit(lattice, self.config.prices, by_part=self.by_part).arrays()

    def _act(self, view: View) -> IntArray:
        return cascade_actions(self.arrays_, view)

    def _check_arrays(self) -> None:
        super()._check_arrays()
        check_cascade(self)


@register_consultation_agent("cascade_per_body_part")
class CascadePerBodyPart(Cascade):
    """As `cascade`, tuned for each body part that has enough studies."""

    by_part = True


def cascade_actions(arrays: dict[str, NDArray[Any]], view: View) -> IntArray:
    """Return the actions of the cascades among an agent's arrays."""
    cascades = Cascades.from_arrays(arrays)
    return cascades.actions(view.subsets, view.confidences, view.body_parts, view.price)


def check_cascade(agent: ConsultationAgent[Any]) -> None:
    """Check the cascades among a loaded agent's arrays."""
    n_prices, n_models = len(agent.config.prices), len(agent.model_names_)
    shape = len(agent.body_part_names_) + 2, n_prices, 2**n_models
    agent._require_shape("prices", (n_prices,))
    if agent.arrays_["prices"].tolist() != list(agent.config.prices):
        raise UserError(f"expected the cascades of {agent.name!r} to be of its prices, got those of others")
    agent._require_shape("cascade_members", shape, "i")
    agent._require_shape("cascade_thresholds", shape)
    members = agent.arrays_["cascade_members"]
    if members.min() < 0 or members.max() >= n_models:
        raise UserError(f"expected members from 0 to {n_models - 1} in the cascades of {agent.name!r}")
