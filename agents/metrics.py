"""How good class probabilities are, study by study: one dictionary of figures, overall and per body part."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from mura_env.auroc import auroc_within as auroc_of_pairs
from mura_env.errors import UserError
from mura_env.utils.options import Range

MIN_STUDIES_PER_CLASS = 5
"""A body part with fewer studies of a class has no figures of its own: they would be noise."""

REQUIRED_SPECIFICITY = 0.9
"""Specificity at which `sensitivity_at_90_specificity` is read off the ROC curve."""

N_CALIBRATION_BINS = 15
"""Bins of `calibration_error`, of equal mass."""

_LEAST_PROBABILITY = 1e-7

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "kappa",
    "auroc",
    "average_precision",
    "sensitivity",
    "specificity",
    "sensitivity_at_90_specificity",
    "threshold",
    "sensitivity_at_threshold",
    "specificity_at_threshold",
    "f1",
    "brier",
    "log_loss",
    "calibration_error",
)
"""Names of the figures that `evaluate` gives overall and per body part."""


def scored_classes(n_classes: int) -> range:
    """Return the classes that are scored one against the rest: class 1 of two, each of more."""
    return range(1, 2) if n_classes == 2 else range(n_classes)


def evaluate(
    labels: NDArray[Any],
    probabilities: NDArray[Any],
    body_parts: NDArray[Any] | None = None,
    body_part_names: Sequence[str] | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Score class probabilities against the true classes.

    A predicted class is the most probable one, ties to the lowest. With two classes, class 1 is the positive
    one; with more, `auroc`, `average_precision` and `sensitivity_at_90_specificity` are macro averages of one
    class against the rest, `f1` and `sensitivity` macro averages over classes, and so is `specificity`.

    Args:
        labels: True classes, shape `(n_studies,)`, in [0, n_classes).
        probabilities: Shape `(n_studies, n_classes)`, rows with sum 1.
        body_parts: Indices into `body_part_names`, shape `(n_studies,)`; no figures per body part if None.
        body_part_names: Names of the body parts; their numbers if None.
        threshold: With two classes, also score the prediction that a study is positive where its probability
            is at least this, such as `youden_threshold` of other studies.

    Returns:
        `n_studies` and the figures that `FIGURES` names, floats or None where one is not defined; with body
        parts also auroc_within_body_parts (average over parts weighted by their pairs of a positive and a
        negative study), per_body_part and macro (the plain mean over the body parts that are scored, and
        their number `n_body_parts`). A part with fewer than five studies of a class has None for each figure
        and a `reason`. It is JSON-ready: no NaN, no infinity.

    Raises:
        ValueError: If shapes or ranges do not fit, or a probability is not finite.
    """
    labels, probabilities = _checked(labels, probabilities)
    if threshold is not None:
        Range("[0, 1]").check("threshold", threshold)
    figures: dict[str, Any] = {
        "n_studies": len(labels),
        **_figures(labels, probabilities, threshold),
    }
    if body_parts is None:
        return figures
    body_parts = np.asarray(body_parts)
    if body_parts.shape != labels.shape:
        raise ValueError(f"expected body_parts of shape {labels.shape}, got {body_parts.shape}")
    names = (
        list(body_part_names) if body_part_names is not None else list(map(str, range(body_parts.max() + 1)))
    )
    figures["auroc_within_body_parts"] = auroc_within(labels, probabilities, body_parts)
    figures["per_body_part"] = {
        name: _part_figures(labels[body_parts == part], probabilities[body_parts == part], threshold)
        for part, name in enumerate(names)
    }
    figures["macro"] = _macro(figures["per_body_part"].values())
    return figures


def youden_threshold(labels: NDArray[Any], probabilities: NDArray[Any]) -> float | None:
    """Return the probability above which to call a study positive: the most sensitivity + specificity.

    Youden, Cancer 3:32 (1950). It is half-way between two probabilities that occur; the highest where several
    are as good. Choose it on other studies than those it is scored on. Labels and probabilities are as in
    `evaluate`; None with more than two classes, or where all studies are of one class.
    """
    labels, probabilities = _checked(labels, probabilities)
    if probabilities.shape[1] != 2 or len(np.unique(labels)) < 2:
        return None
    false_positive, true_positive, scores = roc_curve(labels, probabilities[:, 1], drop_intermediate=False)
    best = int(np.argmax(true_positive - false_positive))
    # The first score is infinite: nothing is positive there. Below the last, everything is.
    upper = float(scores[best])
    lower = float(scores[best + 1]) if best + 1 < len(scores) else 0.0
    return (min(upper, 1.0) + min(lower, 1.0)) / 2.0  # rounding may leave more than 1


def auroc_within(labels: NDArray[Any], probabilities: NDArray[Any], groups: NDArray[Any]) -> float | None:
    """Return the AUROC within groups, `mura_env.auroc.auroc_within`, of the positive class.

    With more than two classes, it is the macro average over classes against the rest; None where no group has
    a pair. Labels and groups are of shape `(n_studies,)`, probabilities `(n_studies, n_classes)`.
    """
    of_class = (
        auroc_of_pairs(labels == positive, probabilities[:, positive], groups)
        for positive in scored_classes(probabilities.shape[1])
    )
    figures = [figure for figure in of_class if figure is not None]
    return float(np.mean(figures)) if figures else None


def study_losses(labels: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return what each study adds to the Brier score and the log loss, each of shape `(…, n_studies)`.

    Probabilities of shape `(…, n_studies, n_classes)` are taken as at least 1e-7 for the log loss (natural
    logarithm); `brier` is halved with two classes, so that it is the squared error of class 1.
    """
    n_classes = probabilities.shape[-1]
    one_hot = np.eye(n_classes)[labels]
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST_PROBABILITY, 1.0)
    of_label = (clipped * one_hot).sum(axis=-1) / clipped.sum(axis=-1)
    squares = ((probabilities - one_hot) ** 2).sum(axis=-1)
    return {"brier": squares / (2 if n_classes == 2 else 1), "log_loss": -np.log(of_label)}


def calibration_error(
    correct: NDArray[Any], confidence: NDArray[Any], n_bins: int = N_CALIBRATION_BINS
) -> float:
    """Return the expected calibration error over bins of equal mass.

    Studies are sorted by confidence, the probability of the predicted class, and cut into bins of nearly the
    same number, where equal confidences stay together, so that the order of the table does not matter; the
    error is the mean over bins, weighted by their studies, of |share correct - mean confidence| (Nguyen and
    O'Connor 2015). Both arrays are of shape `(n_studies,)`.
    """
    Range("[1, 1000000]").check("n_bins", n_bins, int)
    order = np.argsort(confidence, kind="stable")
    starts = equal_mass_bins(confidence[order], n_bins)
    surplus = np.asarray(correct, dtype=np.float64)[order] - confidence[order]
    return float(np.abs(np.add.reduceat(surplus, starts)).sum() / len(order))


def equal_mass_bins(ascending: NDArray[Any], n_bins: int) -> NDArray[np.intp]:
    """Return where bins of nearly the same number begin in ascending values; equal ones stay together.

    Fewer bins come out where there are fewer values, or many equal ones.
    """
    edges = np.linspace(0, len(ascending), min(n_bins, len(ascending)) + 1).round().astype(int)[:-1]
    return np.unique(np.searchsorted(ascending, ascending[edges]))


def _figures(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float | None
) -> dict[str, float | None]:
    n_classes, predicted = probabilities.shape[1], probabilities.argmax(axis=1)
    at_threshold: dict[str, float | None] = dict.fromkeys(("sensitivity", "specificity"))
    if threshold is not None:
        if n_classes != 2:
            raise UserError(f"expected no threshold with {n_classes} classes, got {threshold}")
        at_threshold = _rates(_confusion(labels, (probabilities[:, 1] >= threshold).astype(np.int64), 2))
    losses = study_losses(labels, probabilities)
    return {
        **_prediction_figures(_confusion(labels, predicted, n_classes)),
        **_ranking_figures(labels, probabilities),
        "threshold": threshold,
        "sensitivity_at_threshold": at_threshold["sensitivity"],
        "specificity_at_threshold": at_threshold["specificity"],
        **{name: float(of_study.mean()) for name, of_study in losses.items()},
        "calibration_error": calibration_error(predicted == labels, probabilities.max(axis=1)),
    }


def _confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Count the studies of each true class (row) by their predicted class (column)."""
    counts = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.float64)


def _prediction_figures(confusion: NDArray[np.float64]) -> dict[str, float | None]:
    """Score what depends on the predicted classes alone."""
    n_studies, correct = confusion.sum(), np.diagonal(confusion)
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    present, scored = true > 0, list(scored_classes(len(confusion)))
    accuracy, by_chance = correct.sum() / n_studies, true @ predicted / n_studies**2
    f1 = 2 * correct / np.maximum(true + predicted, 1)  # 0 of a class that neither side names
    return {
        "accuracy": float(accuracy),
        "balanced_accuracy": float((correct / true.clip(1))[present].mean()) if present.sum() > 1 else None,
        # Not where both sides name one and the same class: there, chance agreement is perfect.
        "kappa": float((accuracy - by_chance) / (1 - by_chance)) if by_chance < 1 else None,
        **_rates(confusion),
        "f1": float(f1[scored].mean()),
    }


def _rates(confusion: NDArray[np.float64]) -> dict[str, float | None]:
    """Score one class against the rest, the mean over the classes that both sides have studies for."""
    scored, correct = list(scored_classes(len(confusion))), np.diagonal(confusion)
    positive, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    negative = confusion.sum() - positive
    return {
        "sensitivity": _mean_ratio(correct[scored], positive[scored]),
        "specificity": _mean_ratio((negative - predicted + correct)[scored], negative[scored]),
    }


def _mean_ratio(counts: NDArray[np.float64], totals: NDArray[np.float64]) -> float | None:
    """Average counts / totals over the classes that have studies; None if none has."""
    present = totals > 0
    return float((counts[present] / totals[present]).mean()) if present.any() else None


def _part_figures(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], threshold: float | None
) -> dict[str, Any]:
    """Score one body part, or say why it is not scored."""
    n_classes = probabilities.shape[1]
    fewest = int(np.bincount(labels, minlength=n_classes).min())
    if fewest >= MIN_STUDIES_PER_CLASS:
        return {"n_studies": len(labels), **_figures(labels, probabilities, threshold)}
    return {
        "n_studies": len(labels),
        **dict.fromkeys(FIGURES),
        "reason": f"a class has {fewest} studies, fewer than {MIN_STUDIES_PER_CLASS}",
    }


def _ranking_figures(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, float | None]:
    """Score the order of the studies, the mean over the classes of which both sides have studies."""
    values = []
    for positive_class in scored_classes(probabilities.shape[1]):
        positive, score = labels == positive_class, probabilities[:, positive_class]
        if positive.any() and not positive.all():
            false_positive, true_positive, _ = roc_curve(positive, score, drop_intermediate=False)
            specific = false_positive <= 1.0 - REQUIRED_SPECIFICITY + 1e-9
            found, raised = true_positive[1:] * positive.sum(), false_positive[1:] * (~positive).sum()
            values.append(
                (
                    np.trapezoid(true_positive, false_positive),
                    np.diff(true_positive) @ (found / (found + raised)),  # precision at each step of recall
                    true_positive[specific].max(),
                )
            )
    names = ("auroc", "average_precision", "sensitivity_at_90_specificity")
    if not values:
        return dict.fromkeys(names)
    return dict(zip(names, map(float, np.mean(values, axis=0)), strict=True))


def _macro(parts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Average figures over the body parts that are scored; None where one of them has none."""
    scored = [part for part in parts if "reason" not in part]
    columns = {name: [part[name] for part in scored] for name in FIGURES}
    return {
        "n_body_parts": len(scored),
        **{
            name: float(np.mean(values)) if values and None not in values else None
            for name, values in columns.items()
        },
    }


def _checked(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels):
        raise ValueError(
            "expected labels of shape (n_studies,), probabilities of shape (n_studies, n_classes), at least "
            f"one study, got {labels.shape} and {probabilities.shape}"
        )
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        raise ValueError("expected finite, non-negative probabilities, got others")
    sums = probabilities.sum(axis=1)
    if np.abs(sums - 1.0).max() > 1e-3:
        raise ValueError(
            f"expected rows of probabilities with sum 1, got sums from {sums.min()} to {sums.max()}"
        )
    if (
        not np.issubdtype(labels.dtype, np.integer)
        or labels.min() < 0
        or labels.max() >= probabilities.shape[1]
    ):
        raise ValueError(
            f"expected integer labels in [0, {probabilities.shape[1]}), got {np.unique(labels)[:10]}"
        )
    return labels.astype(np.int64), probabilities / sums[:, None]
