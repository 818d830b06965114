"""The document of a benchmark: one row per agent, member and control, with intervals and paired tests.

It is JSON-ready and free of NaN (an undefined figure is None), and the same tables and seeds give the same
document, whatever was interrupted on the way and however many processes there were.

- `n_studies`, `seeds`, `contested_share` (of the test studies: members' verdicts differ);
- `protocol`: `n_train_studies`, `n_train_patients`, `n_test_patients`, `train_contested_share`,
  `model_names`, `class_names`, `body_part_names`, `bootstrap_resamples`, `enough_seeds`, `notes` (sentences),
  `holm_family` (the agents that `holm_p` allows for);
- `agents`, by name: a row, see below;
- `models`: each member alone, and `controls`: what else was given, and `majority`, in the same rows;
- `weights_vary`, by agent: `between_body_parts` and `between_seeds`, both the root mean square over members
  of the standard deviation of the mean weights;
- `behaviour`: what the policies did, see `agents.benchmark.behaviour`;
- `curves`, by agent and control: ROC and reliability, see `agents.benchmark.curves`;
- `cross_validated`: the secondary comparison, see `agents.benchmark.out_of_fold`, or a `reason` for none;
- `images`: figures of single radiographs, see `agents.benchmark.image_level`, or a `reason` for none.

A row holds

- `n_studies` and every figure of `agents.metrics.FIGURES` as `{"mean", "ci95", "seed_spread"}`: mean and
  standard deviation over seeds, and the interval, by patient, of the mean over seeds (None for `threshold`):
  Wilson's for accuracy, sensitivity and specificity, see `agents.statistics.intervals`, and on the
  scale of log odds at 90 % specificity, see `agents.statistics.intervals`; the jackknife's for
  `average_precision`, see `agents.statistics.jackknife`; that of `calibration_error` allows for noise, which
  can only raise it, and need not contain the mean, see `agents.statistics.calibration` (its mean
  over body parts has none); the patient bootstrap's for all others. The spread over seeds and the
  interval over patients are two things: neither contains the other. `threshold` is chosen (Youden) on studies
  of the training table that whatever is scored has not learned from, an agent's by cross-validation: one for
  all seeds. Where it is None, `no_threshold` says why;
- `auroc_within_body_parts`, the same way;
- `macro`: the plain mean over the body parts that are scored, the same way, with `n_body_parts`;
- `per_body_part`, by name: the same figures, `vs_uniform` with `accuracy_difference` and `ci95`, and for a
  part with fewer than five studies of a class None for each figure and a `reason`;
- `vs_uniform`: see below;
- for agents also `learns_by_reinforcement`, `is_bound`, `is_weighting` (whether its probabilities are the
  members' weighted mean), `options` (the agent's configuration), `total_steps` (mean over seeds),
  `learning_curve` (`steps` and, for each other field, `mean` and `seed_spread` by row; or None) and `weights`
  (`mean` and `seed_spread` by member; in each body part too).

`vs_uniform` compares the row with uniform averaging on the same studies, patients drawn alike:

- `accuracy_difference`, `ci95` (patient bootstrap, with two imaginary patients who differ: where no verdict
  does, it is not a point), `standard_error` (over patients), `seed_spread`;
- `kappa_difference` and `auroc_difference`, each `{"mean", "ci95"}`;
- `permutation_p`, the primary test: sign flips by patient of the seed-averaged correctness; `holm_p`: that
  adjusted for all agents but uniform averaging and bounds (None for rows that are not in that family);
- `mcnemar_p` (exact), `mcnemar_mid_p`, `only_this_right`, `only_uniform_right` (studies): verdicts of the
  seed-averaged probabilities; McNemar's test takes studies for independent, which a patient's are not;
- `delong`: `{"p", "ci95", "standard_error"}` of the AUROC difference, clustered by patient; None with more
  than two classes;
- `smallest_detectable_difference`: the true difference in accuracy that the primary test would have found on
  a table like this with a power of 80 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.behaviour import (
    Actions,
    behaviour_document,
    mean_learning_curve,
    weights_over_seeds,
    weights_vary,
)
from agents.benchmark.curves import curves_document
from agents.benchmark.image_level import image_level_document
from agents.benchmark.out_of_fold import HeldOut, out_of_fold_document
from agents.benchmark.scoring import ScoredTable
from agents.metrics import youden_threshold
from agents.statistics.hypothesis_tests import holm
from mura_env import Predictions
from mura_env.weighting_task import contested

ADVISED_SEEDS = 10
_BASELINE = "uniform"
_MANY_CLASSES = "there are more than two classes"


@dataclass(frozen=True)
class AgentResult:
    """What one agent made of the test table, seed by seed; one seed where seeds change nothing."""

    probabilities: NDArray[np.float32]
    """Shape `(n_seeds, n_studies, n_classes)`."""
    weights: NDArray[np.float32] | None = None
    """Shape `(n_seeds, n_studies, n_models)`; None for what is not a weighting."""
    total_steps: list[int] = field(default_factory=list)
    """Environment steps of each fit."""
    learning_curves: list[list[dict[str, float]]] = field(default_factory=list)
    """Learning curve of each fit."""
    uses_seed: bool = True
    """Whether seeds change anything; if not, there is one fit, and no spread over seeds."""
    learns_by_reinforcement: bool = False
    """Whether the agent learned from an environment's rewards."""
    is_bound: bool = False
    """Whether labels of the test table were read."""
    is_weighting: bool = True
    """Whether the probabilities are the members' average with the weights."""
    options: dict[str, Any] = field(default_factory=dict)
    """The configuration, JSON-ready."""


def benchmark_document(
    train: Predictions,
    test: Predictions,
    results: Mapping[str, AgentResult],
    seeds: list[int],
    *,
    controls: Mapping[str, NDArray[Any]],
    n_resamples: int,
    held_out: HeldOut | None = None,
    train_controls: Mapping[str, NDArray[Any]] | None = None,
    thresholds: Mapping[str, float | None] | None = None,
    images: Predictions | None = None,
) -> dict[str, Any]:
    """Put the results of all agents into one document, laid out as the module says.

    Args:
        train: What agents learned from.
        test: What they were scored on.
        results: By agent; `uniform` must be there.
        seeds: The seeds of the fits.
        controls: Class probabilities by name, shape `(n_studies, n_classes)`.
        n_resamples: Resamples of the patient bootstrap.
        held_out: What agents say of training studies that they have not learned from.
        train_controls: What controls say of training studies that they have not learned from.
        thresholds: Agents' thresholds, where they are known from elsewhere; chosen with `held_out` if None.
        images: Members' outputs on each radiograph of the test studies.

    Raises:
        ValueError: If a control's probabilities are not of the right shape or no probabilities, or the
            radiographs are not those of the studies.
    """
    table = ScoredTable(test, n_resamples, results[_BASELINE].probabilities)
    fixed = _with_majority(train, test, controls)
    of_train = _with_majority(train, train, train_controls or {})
    held_out = held_out or HeldOut(reason="it was not asked for")
    if thresholds is None:
        thresholds = _thresholds(train, held_out)
    agents = {name: _agent_row(table, name, result, thresholds.get(name)) for name, result in results.items()}
    family = _correct_for_family(agents)
    return {
        "n_studies": len(test),
        "seeds": [int(seed) for seed in seeds],
        "protocol": {**_protocol(train, test, seeds, n_resamples), "holm_family": family},
        "contested_share": float(contested(test).mean()),
        "agents": agents,
        "models": _model_rows(table, train, test),
        "controls": {
            name: _control_row(table, probabilities, train.labels, of_train.get(name))
            for name, probabilities in fixed.items()
        },
        **_acts_and_curves(train, test, results, fixed),
        "cross_validated": out_of_fold_document(train, held_out, of_train, baseline=_BASELINE),
        "images": _images(
            test, images, results, controls=fixed, thresholds=thresholds, n_resamples=n_resamples
        ),
    }


def _with_majority(
    train: Predictions, test: Predictions, controls: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the controls' class probabilities and those of the training table's most frequent class."""
    priors = np.bincount(train.labels, minlength=len(train.class_names)) / len(train)
    fixed = {**controls, "majority": np.tile(priors, (len(test), 1))}
    for name, probabilities in fixed.items():
        if np.shape(probabilities) != (len(test), len(test.class_names)):
            raise ValueError(
                f"expected probabilities of shape {(len(test), len(test.class_names))} for the control "
                f"{name!r}, got {np.shape(probabilities)}"
            )
    return {name: np.asarray(probabilities) for name, probabilities in fixed.items()}


def _thresholds(train: Predictions, held_out: HeldOut) -> dict[str, float | None]:
    """Choose a threshold for each agent on studies that it has not learned from."""
    chosen = {
        name: youden_threshold(train.labels, probabilities.mean(axis=0))
        for name, probabilities in held_out.probabilities.items()
    }
    # Uniform averaging learns nothing, and the members' outputs are out of fold.
    return {**chosen, _BASELINE: youden_threshold(train.labels, train.probabilities.mean(axis=1))}


def _correct_for_family(agents: Mapping[str, dict[str, Any]]) -> list[str]:
    """Fill in Holm's p-values of all agents that could have won, and return their names."""
    family = [name for name, row in agents.items() if name != _BASELINE and not row["is_bound"]]
    adjusted = holm([agents[name]["vs_uniform"]["permutation_p"] for name in family])
    for name, p in zip(family, adjusted, strict=True):
        agents[name]["vs_uniform"]["holm_p"] = p
    return family


def _acts_and_curves(
    train: Predictions,
    test: Predictions,
    results: Mapping[str, AgentResult],
    fixed: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    """Describe what the policies did, and draw the curves of everything that was scored."""
    weighting = {name: result for name, result in results.items() if result.weights is not None}
    return {
        "weights_vary": {
            name: weights_vary(result.weights, test.body_parts, result.uses_seed)
            for name, result in weighting.items()
            if result.weights is not None
        },
        "behaviour": behaviour_document(
            train,
            test,
            {
                name: Actions(result.weights, result.probabilities, result.learning_curves)
                for name, result in weighting.items()
                if result.weights is not None
            },
            results[_BASELINE].probabilities,
        ),
        "curves": curves_document(
            test.labels,
            {
                **{name: result.probabilities for name, result in results.items()},
                **{name: probabilities[None] for name, probabilities in fixed.items()},
            },
        ),
    }


def _images(
    test: Predictions,
    images: Predictions | None,
    results: Mapping[str, AgentResult],
    *,
    controls: Mapping[str, NDArray[Any]],
    thresholds: Mapping[str, float | None],
    n_resamples: int,
) -> dict[str, Any]:
    """Score single radiographs, where they are known."""
    if images is None:
        return {"reason": "the tables hold studies only, not their radiographs"}
    weights = {
        name: result.weights if result.is_weighting else None
        for name, result in results.items()
        if not result.is_bound
    }
    return image_level_document(
        test, images, weights, controls, thresholds, baseline=_BASELINE, n_resamples=n_resamples
    )


def _model_rows(table: ScoredTable, train: Predictions, test: Predictions) -> dict[str, Any]:
    """Score each member alone."""
    rows = {}
    for index, name in enumerate(test.model_names):
        threshold = youden_threshold(train.labels, train.probabilities[:, index])
        rows[name] = table.row(test.probabilities[None, :, index], [threshold])
    return rows


def _control_row(
    table: ScoredTable,
    probabilities: NDArray[Any],
    train_labels: NDArray[np.int64],
    of_train: NDArray[Any] | None,
) -> dict[str, Any]:
    threshold = None if of_train is None else youden_threshold(train_labels, of_train)
    row = table.row(probabilities[None], [threshold])
    if threshold is None:
        row["no_threshold"] = _MANY_CLASSES if table.n_classes > 2 else "the control is not known there"
    return row


def _agent_row(table: ScoredTable, name: str, result: AgentResult, threshold: float | None) -> dict[str, Any]:
    thresholds = [threshold] * len(result.probabilities)
    row = table.row(result.probabilities, thresholds, is_baseline=name == _BASELINE)
    if threshold is None:
        row["no_threshold"] = (
            _MANY_CLASSES
            if table.n_classes > 2
            else "no studies are known that the agent has not learned from: it was not cross-validated"
        )
    row["learns_by_reinforcement"] = result.learns_by_reinforcement
    row["is_bound"] = result.is_bound
    row["is_weighting"] = result.is_weighting
    row["options"] = dict(result.options)
    row["total_steps"] = float(np.mean(result.total_steps))
    row["learning_curve"] = mean_learning_curve(result.learning_curves)
    if result.weights is not None:
        row["weights"] = weights_over_seeds(result.weights)
        for part, part_name in enumerate(table.test.body_part_names):
            chosen = table.test.body_parts == part
            summary = weights_over_seeds(result.weights[:, chosen]) if chosen.any() else None
            row["per_body_part"][part_name]["weights"] = summary
    return row


def _protocol(train: Predictions, test: Predictions, seeds: list[int], n_resamples: int) -> dict[str, Any]:
    notes = [
        "Every figure is conditional on one set of trained base models.",
        "An agent's estimate is the mean over seeds; ci95 is the interval of that mean, by patient.",
    ]
    if len(seeds) < ADVISED_SEEDS:
        notes.append(
            f"{len(seeds)} seeds were run; at least {ADVISED_SEEDS} are advised before anything is claimed."
        )
    return {
        "n_train_studies": len(train),
        "n_train_patients": len(np.unique(train.patient_ids)),
        "n_test_patients": len(np.unique(test.patient_ids)),
        "train_contested_share": float(contested(train).mean()),
        "model_names": list(test.model_names),
        "class_names": list(test.class_names),
        "body_part_names": list(test.body_part_names),
        "bootstrap_resamples": n_resamples,
        "enough_seeds": len(seeds) >= ADVISED_SEEDS,
        "notes": notes,
    }
