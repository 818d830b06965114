"""Heads fitted on a training table, for all subsets of the members, and their cross-fitted answers."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from agents.mixture import fold_pairs
from agents.policy.networks.base import single_thread
from mura_env import Predictions
from mura_env.combination import FloatArray
from mura_env.consultation.heads import NetworkHead, PoolHead, all_subsets, head_inputs
from mura_env.observations import observe

HeadChoice = Literal["chosen", "pool", "network"]
FittedHead = PoolHead | NetworkHead

_PRIOR, _PART_PRIOR = 1.0, 30.0
"""How strongly a pool's parameters are drawn to equal weights, and those of a body part to the common ones:
precision of a Gaussian prior, in studies."""

_UNITS, _UPDATES, _BATCH, _LEARNING_RATE = 64, 3000, 512, 0.02


def said(table: Predictions) -> FloatArray:
    """Return the members' log-probabilities as the environment shows them, ``(n_models, n_classes, n)``."""
    n_models, n_classes = table.n_models, table.n_classes
    columns = observe(table)[:, : n_models * n_classes].T
    return np.ascontiguousarray(columns).reshape(n_models, n_classes, len(table))


def fit_head(table: Predictions, kind: Literal["pool", "network"], seed: int) -> FittedHead:
    """Fit a head of a kind on all studies of a table."""
    return fit_pool(table) if kind == "pool" else fit_network(table, seed)


def fit_pool(table: Predictions) -> PoolHead:
    """Fit a log-linear pool for every subset and body part by log loss, a conditional logit (McFadden 1974).

    A maximum a posteriori estimate, by Newton's method: the weights common to all parts are drawn to equal
    ones that sum to 1, those of a part to the common ones.
    """
    differences = said(table).transpose(2, 1, 0).astype(np.float64)  # (n, n_classes, n_models)
    differences = differences[:, 1:] - differences[:, :1]
    n, n_others, n_models = differences.shape
    subsets, n_parts = all_subsets(n_models), len(table.body_part_names)
    weights = np.zeros((n_parts + 1, len(subsets), n_models), dtype=np.float32)
    biases = np.zeros((n_parts + 1, len(subsets), n_others + 1), dtype=np.float32)
    own_bias = np.broadcast_to(np.eye(n_others), (n, n_others, n_others))
    rows_of = [np.flatnonzero(table.body_parts == part) for part in range(n_parts)]
    for subset, members in enumerate(subsets):
        design = np.concatenate((differences[:, :, members], own_bias), axis=2)
        start = np.zeros(design.shape[2])
        start[: members.sum()] = 1 / max(1, members.sum())
        common = _newton(design, table.labels, start, _PRIOR)
        for part, rows in enumerate([*rows_of, np.empty(0, dtype=np.int64)]):
            found = _newton(design[rows], table.labels[rows], common, _PART_PRIOR) if len(rows) else common
            weights[part, subset, members] = found[: members.sum()]
            biases[part, subset, 1:] = found[members.sum() :]
    return PoolHead(weights, biases)


def _newton(
    design: NDArray[np.float64], labels: NDArray[np.int64], prior: NDArray[np.float64], precision: float
) -> NDArray[np.float64]:
    """Maximise the log likelihood of classes with scores 0 and design · θ, less precision/2·|θ - prior|²."""
    n, n_others, n_columns = design.shape
    flat, found = design.reshape(-1, n_columns), prior.copy()
    target = (labels[:, None] == np.arange(1, n_others + 1)).astype(np.float64)
    for _ in range(25):
        scores = (flat @ found).reshape(n, n_others)
        highest = np.maximum(scores.max(axis=1, keepdims=True), 0)
        exponentials = np.exp(scores - highest)
        shares = exponentials / (exponentials.sum(axis=1, keepdims=True) + np.exp(-highest))
        means = np.einsum("nc,ncd->nd", shares, design)
        curvature = (flat * shares.reshape(-1, 1)).T @ flat - means.T @ means
        gradient = (target - shares).reshape(-1) @ flat - precision * (found - prior)
        step = np.linalg.solve(curvature + precision * np.eye(n_columns), gradient)
        found += step * min(1.0, 3.0 / max(np.abs(step).max(), 1e-12))  # far from the optimum, not too far
        if np.abs(step).max() < 1e-6:
            break
    return found


def fit_network(table: Predictions, seed: int) -> NetworkHead:
    """Train the network that weights the consulted members by log loss, on subsets drawn anew every time.

    Every number of consulted members is drawn equally often.
    """
    log_probabilities, labels = said(table), torch.from_numpy(table.labels.copy())
    n_models, n_classes, n = log_probabilities.shape
    n_parts, rng = len(table.body_part_names), np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    n_inputs = n_models * (n_classes + 2) + n_parts
    hidden = nn.Parameter(torch.randn(n_inputs + 1, _UNITS, generator=generator) / n_inputs**0.5)
    outputs = nn.Parameter(torch.zeros(_UNITS + 1, n_models + n_classes))
    with torch.no_grad():
        outputs[:-1, :n_models] = 0.01 * torch.randn(_UNITS, n_models, generator=generator)
        outputs[-1, :n_models] = 2 / (n_models + 1)
    optimizer = torch.optim.AdamW((hidden, outputs), lr=_LEARNING_RATE, weight_decay=0.003)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, _UPDATES)
    with single_thread():
        for _ in range(_UPDATES):
            rows = rng.integers(0, n, min(n, _BATCH))
            ranks = rng.random((n_models, len(rows))).argsort(axis=0)
            consulted = ranks < rng.integers(0, n_models + 1, len(rows))
            inputs = head_inputs(log_probabilities[..., rows], consulted, table.body_parts[rows], n_parts)
            read = torch.from_numpy(inputs.T.copy())
            weights = torch.relu(read @ hidden[:-1] + hidden[-1]) @ outputs[:-1] + outputs[-1]
            said_by = read[:, : n_models * n_classes].view(-1, n_models, n_classes)
            scores = (weights[:, :n_models, None] * said_by).sum(1) + weights[:, n_models:]
            loss = nn.functional.cross_entropy(scores, labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            schedule.step()
    return NetworkHead(hidden.detach().numpy().copy(), outputs.detach().numpy().copy())


def answers_of(head: FittedHead, table: Predictions) -> FloatArray:
    """Return a head's answers to all subsets, float32 ``(2 ** n_models, n_classes, n_studies)``."""
    log_probabilities = said(table)
    return np.stack(
        [
            head(log_probabilities, np.repeat(members[:, None], len(table), axis=1), table.body_parts)
            for members in all_subsets(table.n_models)
        ]
    )


def cross_fitted(
    table: Predictions, choice: HeadChoice, n_folds: int, seed: int
) -> tuple[FittedHead, FloatArray, NDArray[np.int64]]:
    """Fit a head on a table, and answer each study by a head that has not learned from its patient.

    Args:
        table: The training table.
        choice: The kind of head, or `chosen`: the one with the lower log loss on held-out studies, averaged
            over all subsets.
        n_folds: Folds by patient.
        seed: Draws the folds and what the network sees.

    Returns:
        The head fitted on all studies; cross-fitted answers, as `answers_of`; the fold of each study.
    """
    pairs = fold_pairs(table, None, n_folds, seed)
    folds = table.folds(n_folds, seed) if pairs else np.zeros(len(table), dtype=np.int64)
    best: tuple[float, Literal["pool", "network"], FloatArray] | None = None
    for kind in ("pool", "network") if choice == "chosen" else (choice,):
        answers = np.empty((2**table.n_models, table.n_classes, len(table)), dtype=np.float32)
        for fold, (learn, score) in enumerate(pairs or [(table, table)]):
            answers[..., folds == fold] = answers_of(fit_head(learn, kind, seed), score)
        of_label = answers[:, table.labels, np.arange(len(table))]
        loss = float(-np.log(np.maximum(of_label, 1e-6)).mean(dtype=np.float64))
        if best is None or loss < best[0]:
            best = loss, kind, answers
    assert best is not None  # noqa: S101 - there is a kind
    return fit_head(table, best[1], seed), best[2], folds
