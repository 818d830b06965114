"""Heads: how what the consulted members say becomes an answer, the probabilities of the classes.

A head sees the consulted members only: what the others say is replaced before it reads it. Arrays are laid
out with the studies on the last axis, as in `mura_env.combination`, and sums are accumulated row by row, so
that a study gives the same bits alone and in a batch of any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mura_env.combination import FloatArray, IntArray, softmax, sum_over_models

MOST_EXACT = 8
"""Up to this many members, all subsets of them are looked at."""


class Head(Protocol):
    """Anything that answers from what the consulted members say."""

    def __call__(
        self, log_probabilities: FloatArray, consulted: NDArray[np.bool_], body_parts: IntArray
    ) -> FloatArray:
        """Return class probabilities, float32 ``(n_classes, n)``.

        Args:
            log_probabilities: float32 ``(n_models, n_classes, n)``, clipped as in the observation; only those
                of consulted members may have an influence.
            consulted: bool ``(n_models, n)``.
            body_parts: Indices into the table's body parts, ``(n,)``.
        """
        ...


@dataclass(frozen=True)
class UniformHead:
    """The average of the consulted members' class probabilities; all alike where no member was consulted."""

    def __call__(
        self, log_probabilities: FloatArray, consulted: NDArray[np.bool_], body_parts: IntArray
    ) -> FloatArray:
        """Return the averages."""
        return mean_of_consulted(np.exp(log_probabilities), consulted)


UNIFORM_HEAD = UniformHead()


def mean_of_consulted(probabilities: FloatArray, consulted: NDArray[np.bool_]) -> FloatArray:
    """Return the mean over consulted members, ``(n_classes, n)``; 1/n_classes where there is none."""
    count = consulted.sum(axis=0)
    total = sum_over_models(probabilities * consulted[:, None])
    total[:, count == 0] = 1 / np.float32(len(total))
    total /= np.maximum(count, 1).astype(np.float32)
    return total


@dataclass(frozen=True, eq=False)
class PoolHead:
    """A log-linear pool: softmax of a bias plus a weighted sum of log-probabilities, by subset and body part.

    Genest and Zidek, Combining probability distributions, 1986.
    """

    weights: FloatArray
    """float32 ``(n_body_parts + 1, 2 ** n_models, n_models)``; row ``subset`` of the members whose bits are
    set, zero elsewhere. The last body part stands for any other."""
    biases: FloatArray
    """float32 ``(n_body_parts + 1, 2 ** n_models, n_classes)``."""

    def __call__(
        self, log_probabilities: FloatArray, consulted: NDArray[np.bool_], body_parts: IntArray
    ) -> FloatArray:
        """Return the pooled probabilities."""
        subsets = subset_numbers(consulted)
        scores = np.ascontiguousarray(self.biases[body_parts, subsets].T)
        weights = self.weights[body_parts, subsets].T
        for m in range(len(consulted)):
            scores += np.where(consulted[m], weights[m], np.float32(0)) * log_probabilities[m]
        return softmax(scores)


@dataclass(frozen=True, eq=False)
class NetworkHead:
    """A log-linear pool whose weights a masked network chooses, which reads the consulted members' outputs.

    So what one member says can decide how much another counts. The input of the network's one layer of
    rectified linear units are the members' log-probabilities, their confidences (both 0 where one was not
    consulted), whether each was consulted, and the body part one-hot. Its outputs are a weight for each
    member and a bias for each class.
    """

    hidden: FloatArray
    """float32 ``(n_inputs + 1, n_units)``, the last row is the bias."""
    outputs: FloatArray
    """float32 ``(n_units + 1, n_models + n_classes)``, the last row is the bias."""

    def __call__(
        self, log_probabilities: FloatArray, consulted: NDArray[np.bool_], body_parts: IntArray
    ) -> FloatArray:
        """Return the pooled probabilities."""
        inputs = head_inputs(log_probabilities, consulted, body_parts, self._n_parts(log_probabilities))
        units = np.maximum(_affine(self.hidden, inputs), np.float32(0))
        outputs = _affine(self.outputs, units)
        n_models, n_classes, _ = log_probabilities.shape
        scores = outputs[n_models:].copy()
        for m in range(n_models):
            said = inputs[m * n_classes : (m + 1) * n_classes]  # 0 where not consulted
            scores += outputs[m] * said
        return softmax(scores)

    def _n_parts(self, log_probabilities: FloatArray) -> int:
        n_models, n_classes, _ = log_probabilities.shape
        return int(len(self.hidden) - 1 - n_models * (n_classes + 2))


def head_inputs(
    log_probabilities: FloatArray, consulted: NDArray[np.bool_], body_parts: IntArray, n_parts: int
) -> FloatArray:
    """Return what the network of `NetworkHead` reads, float32 ``(n_inputs, n)``."""
    said = np.where(consulted[:, None], log_probabilities, np.float32(0))
    confidences = np.where(consulted, np.exp(log_probabilities.max(axis=1)), np.float32(0))
    own = body_parts == np.arange(n_parts)[:, None]
    columns = said.reshape(-1, said.shape[-1]), confidences, consulted, own
    return np.concatenate(columns, dtype=np.float32)


def _affine(weights: FloatArray, inputs: FloatArray) -> FloatArray:
    """Return weights^T · inputs + bias, accumulated row by row; a library's product depends on the width."""
    total: FloatArray = np.repeat(weights[-1][:, None], inputs.shape[1], axis=1)
    for row, value in zip(weights[:-1], inputs, strict=True):
        total += row[:, None] * value
    return total


def subset_numbers(consulted: NDArray[np.bool_]) -> IntArray:
    """Return subsets ``(n_models, n)`` as numbers ``(n,)``: bit m stands for member m."""
    numbers = np.zeros(consulted.shape[1], dtype=np.int64)
    for m, row in enumerate(consulted):
        numbers += row.astype(np.int64) << m
    return numbers


def all_subsets(n_models: int) -> NDArray[np.bool_]:
    """Return every subset in the order of its number, bool ``(2 ** n_models, n_models)``."""
    return (np.arange(2**n_models)[:, None] >> np.arange(n_models) & 1).astype(np.bool_)
