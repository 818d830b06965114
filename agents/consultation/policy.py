"""What learned agents of consultation share: the policy network, and selection against the cascades."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.config import LearningRate, Units
from agents.consultation.agent import ConsultationAgent, ConsultationConfig, View
from agents.consultation.cascades import Cascades
from agents.consultation.controls import cascade_actions, check_cascade
from agents.consultation.lattice import Lattice
from agents.consultation.networks import network_outputs
from agents.mixture import is_gain
from mura_env import Predictions
from mura_env.combination import FloatArray, IntArray
from mura_env.consultation.heads import all_subsets

Arrays = dict[str, NDArray[Any]]

_NAMES = ("mean", "scale", "hidden_weight", "hidden_bias", "output_weight", "output_bias")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(ConsultationConfig):
    """Options of agents that learn a policy for the whole range of prices."""

    hidden_size: Units = 64
    """Units of the policy network's hidden layer."""
    learning_rate: LearningRate = 0.01
    """Learning rate of Adam at the start; it falls linearly to zero."""


def standardization(observations: FloatArray, prices: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    """Return mean and scale of observations ``(..., n_columns)``; the last column is the log-price.

    Prices are to be drawn evenly on a log scale between the lowest and the highest.
    """
    flat = observations.reshape(-1, observations.shape[-1])
    flat = flat[:: max(1, len(flat) // 65_536)]
    mean, scale = flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0
    low, high = np.log(prices[0]), np.log(prices[-1])
    mean[-1], scale[-1] = (low + high) / 2, max((high - low) / 12**0.5, 1.0)
    return mean.astype(np.float32), scale.astype(np.float32)


def policy_probabilities(
    policy: Arrays, observations: FloatArray, consulted: NDArray[np.bool_]
) -> FloatArray:
    """Return action probabilities ``(n, n_models + 1)``; a consulted member has 0.

    Args:
        policy: The arrays of one network of hyperbolic tangents, without prefix.
        observations: float32 ``(n, n_columns)``.
        consulted: bool ``(n_models, n)``.
    """
    logits = network_outputs(policy, observations)
    logits[:, :-1][consulted.T] = -np.inf
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def lattice_actions(policy: Arrays, lattice: Lattice, price: float) -> IntArray:
    """Return a policy's most probable actions after every subset, ``(n_subsets, n_studies)``."""
    actions = np.empty(lattice.rewards.shape, dtype=np.int64)
    for subset, members in enumerate(all_subsets(lattice.n_models)):
        observations = lattice.observations[subset].copy()
        observations[:, -1] = np.log(price)
        consulted = np.repeat(members[:, None], len(observations), axis=1)
        actions[subset] = policy_probabilities(policy, observations, consulted).argmax(axis=1)
    return actions


ConfigType = TypeVar("ConfigType", bound=PolicyConfig)


class LearnedConsultationAgent(ConsultationAgent[ConfigType]):
    """One policy per inner fold, whose probabilities are averaged; or the cascade where none beats it.

    Each policy learns from the studies outside its fold and is scored on those inside, at every price, as
    are both cascades. Only if the policies earn more than the better cascade, averaged over prices, by more
    than one standard error of the paired difference, they are taken. A subclass writes `_trained`.
    """

    learns_policy = True

    @property
    def kept_cascade(self) -> bool:
        """Whether this fit gives the cascade."""
        return "policy_mean" not in self.arrays_

    @abstractmethod
    def _trained(self, learn: Lattice, table: Predictions, teacher: Cascades, seed: int) -> Arrays:
        """Train one policy.

        Args:
            learn: The lattice of the studies to learn from.
            table: The same studies, whose last body part stands for any other.
            teacher: Cascades by body part, tuned on them.
            seed: Seed of every random choice.

        Returns:
            The arrays of `policy_probabilities`.
        """

    def _tuned(self, lattice: Lattice, table: Predictions, folds: IntArray) -> Arrays:
        prices, n = self.config.prices, len(table)
        policies: list[Arrays] = []
        earned = {"policy": np.zeros(n), "plain": np.zeros(n), "by_part": np.zeros(n)}
        for fold in np.unique(folds) if folds.any() else ():
            learn, score = lattice.select(folds != fold), lattice.select(folds == fold)
            cascades = {
                name: Cascades.fit(learn, prices, by_part=name == "by_part") for name in ("plain", "by_part")
            }
            seed = self.seed_ + int(fold)
            policies.append(self._trained(learn, table.select(folds != fold), cascades["by_part"], seed))
            for price in prices:
                for name, cascade in cascades.items():
                    actions = cascade.lattice_actions(score, price)
                    earned[name][folds == fold] += score.values(actions, price) / len(prices)
                actions = lattice_actions(policies[-1], score, price)
                earned["policy"][folds == fold] += score.values(actions, price) / len(prices)
        by_part = bool(earned["by_part"].mean() > earned["plain"].mean())
        arrays = Cascades.fit(lattice, prices, by_part=by_part).arrays()
        if policies and is_gain(earned["policy"] - earned["by_part" if by_part else "plain"]):
            stacked = {f"policy_{name}": np.stack([policy[name] for policy in policies]) for name in _NAMES}
            arrays |= stacked
        return arrays

    def _act(self, view: View) -> IntArray:
        if self.kept_cascade:
            return cascade_actions(self.arrays_, view)
        total = np.zeros((len(view.observations), len(view.consulted) + 1))
        for fold in range(len(self.arrays_["policy_mean"])):
            policy = {name: self.arrays_[f"policy_{name}"][fold] for name in _NAMES}
            total += policy_probabilities(policy, view.observations, view.consulted)
        return np.asarray(total.argmax(axis=1))

    def _check_arrays(self) -> None:
        super()._check_arrays()
        check_cascade(self)
        if self.kept_cascade:
            return
        stack = self.arrays_["policy_mean"].shape[:1]
        self._require_network("policy_", stack, self.config.hidden_size, len(self.model_names_) + 1)
