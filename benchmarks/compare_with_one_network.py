"""Is an ensemble better than its strongest member alone, as it is and trained at the ensemble's whole cost?

From the finished run directory of an ensemble (`mura train`, `mura run`), the member with the highest AUROC
out of fold is trained once more with the run's own settings, split and folds, and the epochs that take as
many seconds as all fits of the ensemble together: CPU seconds, which other jobs disturb little, or, for
trainings on a GPU, wall seconds (`--clock wall`). The ensemble's average, the member as the ensemble has it,
that longer training and the control that sees no pixel are scored on the test studies: AUROC, and accuracy
and kappa at 0.5 and at two thresholds that out-of-fold studies alone have chosen, each with a 95 % interval
by patient; then the ensemble minus each of the two, paired. Where the interval includes zero or the test does
not reject, a difference is "not significant".

    python benchmarks/compare_with_one_network.py --run runs/fracatlas --out runs/fracatlas-alone

An interrupted comparison resumes where it was stopped.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from agents.benchmark.scoring import ScoredTable
from agents.metrics import youden_threshold
from agents.statistics.hypothesis_tests import SIGNIFICANCE_LEVEL
from base_models.config import EnsembleConfig, ensemble_from_document
from base_models.datasets import open_dataset
from base_models.ensemble import train_ensemble
from mura_app.artifacts import METADATA_CONTROL, read_training
from mura_app.pipeline import PipelineConfig
from mura_app.report.numbers import format_p, number
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars, error_line, print_text
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.files import replacing, write_json
from mura_env.utils.progress import Progress

N_RESAMPLES = 10_000
CLOCKS = {"cpu": "cpu_seconds", "wall": "wall_seconds"}
"""Which of a fit's durations counts."""
AS_IT_IS, SAME_SECONDS = "strongest member", "strongest member, same seconds"


@dataclass(frozen=True)
class Predictor:
    """Something that gives each study a probability."""

    train: NDArray[np.float64]
    """Of the training studies, out of fold, shape (n_train, 2)."""
    test: NDArray[np.float64]
    """Of the test studies, shape (n_test, 2)."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """How it was trained."""


def kappa_threshold(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Return the threshold on the probability of class 1 with the highest kappa, half-way between two.

    Args:
        labels: Shape (n_studies,).
        probabilities: Shape (n_studies, 2).
    """
    order = np.argsort(probabilities[:, 1], kind="stable")
    scores = probabilities[order, 1].astype(np.float64)
    distinct = np.unique([0.0, *scores, 1.0])
    thresholds = (distinct[1:] + distinct[:-1]) / 2
    below = np.searchsorted(scores, thresholds)
    missed = np.concatenate([[0], np.cumsum(labels[order])])[below]
    n, true, said = len(order), labels.sum(), len(order) - below
    right = (true - missed + below - missed) / n
    by_chance = (said * true + below * (n - true)) / n**2
    return float(thresholds[np.argmax((right - by_chance) / (1 - by_chance))])


THRESHOLDS: dict[str, Callable[[NDArray[Any], NDArray[Any]], float | None]] = {
    "0.5": lambda labels, probabilities: 0.5,
    "threshold of most kappa": kappa_threshold,
    "threshold of most sensitivity + specificity": youden_threshold,
}
"""How each is chosen from the out-of-fold studies: labels (n_studies,) and probabilities (n_studies, 2)."""


def threshold_at_half(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Move probabilities (n_studies, 2) on the scale of log odds, so that a threshold comes to lie at 0.5."""
    odds = probabilities * np.array([threshold, 1.0 - threshold])
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def ensemble_of(settings: Mapping[str, Any]) -> EnsembleConfig:
    """Return the ensemble of a run's `config.json`."""
    try:
        return ensemble_from_document(settings["ensemble"])
    except (KeyError, UserError) as error:
        raise UserError(
            f"expected a run of `mura train` or `mura run` by this version, got other settings ({error}); "
            "train the ensemble anew"
        ) from error


def strongest_member(train: Predictions) -> int:
    """Return the index of the member with the highest AUROC out of fold."""
    areas = [roc_auc_score(train.labels, of_member) for of_member in train.probabilities[:, :, 1].T]
    return int(np.argmax(areas))


def alone(ensemble: EnsembleConfig, index: int, times: float) -> EnsembleConfig:
    """Return the ensemble's settings with one of its members only, trained so many times as long."""
    member = ensemble.members[index]
    longer = replace(member, epochs=max(1, round(times * member.epochs)))
    return replace(ensemble, members=(longer,), drop_below=0.0)


def fit_seconds(run: RunDirectory, clock: str = "cpu_seconds", member: str = "") -> float:
    """Return the seconds of all fits of a finished training, or of one member's, as if one after another."""
    fits_of = read_training(run)["fits"]
    chosen = [fits_of[member]] if member else fits_of.values()
    return float(sum(fit[clock] for fits in chosen for fit in fits))


def train_like(ensemble: RunDirectory, config: EnsembleConfig, run: RunDirectory, progress: Progress) -> None:
    """Train other networks on the split and folds of an ensemble's run; a finished training is kept."""
    settings, folds = ensemble.read_config(), read_training(ensemble)["folds"]
    data, seed = Path(settings["data"]), settings["seed"]
    training_seed = settings.get("training_seed", seed)  # of a repeat
    plan = PipelineConfig(config, seed)
    run.claim({**plan.settings(data), "training_seed": training_seed}, resume=True)
    if not run.training_path.is_file():
        train_ensemble(
            open_dataset(data, seed=seed),
            config,
            run.path,
            seed=training_seed,
            skip_bad_images=bool(read_training(ensemble)["skipped_images"]),
            resume=True,
            cache_dir=run.path.parent / "image_cache",
            progress=progress,
        )
    if read_training(run)["folds"] != folds:
        raise UserError(
            f"expected the folds of {ensemble.path} in {run.path}, got others: the data have changed since; "
            "train both anew"
        )


def read_predictor(run: RunDirectory, prefix: str = "", member: int | None = None, **facts: Any) -> Predictor:
    """Read what a finished training says of its studies: one member, or the uniform average of all."""
    tables = (Predictions.load(run.predictions / f"{prefix}{split}.npz") for split in ("train", "test"))
    train, test = (
        table.probabilities.mean(axis=1) if member is None else table.probabilities[:, member]
        for table in tables
    )
    return Predictor(train.astype(np.float64), test.astype(np.float64), facts)


def score(
    test: Predictions, labels: NDArray[np.int64], predictors: Mapping[str, Predictor]
) -> dict[str, Any]:
    """Score all predictors on the test studies, and compare the first with its strongest member.

    Args:
        test: The test studies.
        labels: Classes of the training studies, shape (n_train,).
        predictors: By name, the ensemble first.

    Returns:
        JSON-ready: `predictors`, by name `facts`, `thresholds` and `figures`, and `ensemble_minus`, by name
        of the single network and figure.
    """
    ensemble = next(iter(predictors))
    rows: dict[str, Any] = {
        name: {"facts": dict(predictor.facts), "thresholds": {}, "figures": {}}
        for name, predictor in predictors.items()
    }
    differences: dict[str, Any] = {name: {} for name in predictors if name in (AS_IT_IS, SAME_SECONDS)}
    for key, choose in THRESHOLDS.items():
        moved = {}
        for name, predictor in predictors.items():
            threshold = choose(labels, predictor.train)
            if threshold is None:
                raise UserError("expected out-of-fold studies of two classes, got one")
            rows[name]["thresholds"][key] = threshold
            moved[name] = threshold_at_half(predictor.test, threshold)[None]  # one seed
        for name, row in rows.items():
            table = ScoredTable(test, N_RESAMPLES, moved[name])
            row["figures"] |= _figures(table.row(moved[name], is_baseline=True), key)
            if name in differences:
                differences[name] |= _differences(table.row(moved[ensemble])["vs_uniform"], key)
    return {"predictors": rows, "ensemble_minus": differences}


def _figures(scored: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the figures of one threshold; the AUROC depends on none and comes with the first."""
    names = {f"accuracy at {key}": "accuracy", f"kappa at {key}": "kappa"}
    if key == "0.5":
        names = {"AUROC": "auroc", "AUROC within body parts": "auroc_within_body_parts", **names}
    return {
        name: {"mean": scored[figure]["mean"], "ci95": scored[figure]["ci95"]}
        for name, figure in names.items()
    }


def _differences(found: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the paired differences at one threshold, each with its interval, its test and what they show."""
    figures = {
        f"accuracy at {key}": {
            "mean": found["accuracy_difference"], "ci95": found["ci95"], "p": found["permutation_p"],
        },
        f"kappa at {key}": {**found["kappa_difference"], "p": None},
    }  # fmt: skip
    if key == "0.5":
        p = found["delong"] and found["delong"]["p"]
        figures = {"AUROC": {**found["auroc_difference"], "p": p}, **figures}
    for figure in figures.values():
        low, high = figure["ci95"] or (0.0, 0.0)
        shown = (low > 0 or high < 0) and (figure["p"] is None or figure["p"] < SIGNIFICANCE_LEVEL)
        figure["verdict"] = ("better" if low > 0 else "worse") if shown else "not significant"
    return figures


def compare(run_path: Path, out: Path, progress: Progress, clock: str = "cpu") -> dict[str, Any]:
    """Train what is not yet trained, score all, write `comparison.json` and `comparison.md`."""
    run = RunDirectory(run_path)
    ensemble, seconds = ensemble_of(run.read_config()), fit_seconds(run, CLOCKS[clock])
    train, test = (Predictions.load(run.predictions / f"{split}.npz") for split in ("train", "test"))
    if test.n_classes != 2:
        raise UserError(f"expected two classes, got {', '.join(test.class_names)}")
    average = f"uniform average of {train.n_models} members"
    predictors = {average: read_predictor(run, fit_seconds=seconds)}
    names = [member.name for member in ensemble.members]
    strongest = names.index(train.model_names[strongest_member(train)])
    member = ensemble.members[strongest]
    own_seconds = fit_seconds(run, CLOCKS[clock], member.name)
    facts: dict[str, Any] = {"name": member.name, "image_size": member.image_size}
    predictors[AS_IT_IS] = read_predictor(
        run,
        member=train.model_names.index(member.name),
        fit_seconds=own_seconds,
        epochs=member.epochs,
        **facts,
    )
    longer = alone(ensemble, strongest, seconds / own_seconds)
    own = RunDirectory(out / "same-seconds")
    train_like(run, longer, own, lambda what, *counts: progress(f"{SAME_SECONDS}, {what}", *counts))
    predictors[SAME_SECONDS] = read_predictor(
        own, fit_seconds=fit_seconds(own, CLOCKS[clock]), epochs=longer.members[0].epochs, **facts
    )
    predictors[METADATA_CONTROL] = read_predictor(run, "metadata-")
    document = {
        "run": run_path.resolve().name,
        "n_studies": len(test),
        "n_patients": len(np.unique(test.patient_ids)),
        "clock": clock,
        "bootstrap_resamples": N_RESAMPLES,
        **score(test, train.labels, predictors),
    }
    write_json(out / "comparison.json", document)
    with replacing(out / "comparison.md") as temporary:
        temporary.write_text(markdown(document), encoding="utf-8")
    return document


def markdown(document: Mapping[str, Any]) -> str:
    """Return the tables of a comparison."""
    predictors, differences = document["predictors"], document["ensemble_minus"]
    figures = next(iter(predictors.values()))["figures"]
    facts = {
        "fit_seconds": f"fits, seconds ({document['clock']} clock)",
        "epochs": "epochs",
        "image_size": "image size",
    }
    rows = [[name, *(_estimate(row["figures"][name]) for row in predictors.values())] for name in figures]
    rows += [
        [words, *(f"{row['facts'][key]:,.0f}" if key in row["facts"] else "" for row in predictors.values())]
        for key, words in facts.items()
    ]
    compared = next(iter(differences.values()))
    return "\n".join(
        [
            f"{document['n_studies']:,} test studies of {document['n_patients']:,} patients; 95 % intervals "
            "by patient, thresholds from the out-of-fold studies:\n",
            *_table(["", *predictors], rows),
            "\nEnsemble minus its strongest member, paired (p: sign-flip permutation by patient for "
            "accuracy, clustered DeLong for AUROC; not corrected for the number of comparisons; one training "
            "of each network; the member chosen out of fold):\n",
            *_table(
                ["", *differences],
                [[name, *(_difference(row[name]) for row in differences.values())] for name in compared],
            ),
            "",
        ]
    )


def _estimate(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None:
        return "not defined"
    ends = figure["ci95"]
    return f"{figure['mean']:.3f}" + (f" ({ends[0]:.3f} to {ends[1]:.3f})" if ends else "")


def _difference(figure: Mapping[str, Any]) -> str:
    if figure["mean"] is None or figure["ci95"] is None:
        return "not defined"
    mean, low, high = (number(value, "+.3f") for value in (figure["mean"], *figure["ci95"]))
    p = "" if figure["p"] is None else f", p {format_p(figure['p'])}"
    return f"{mean} ({low} to {high}){p}: {figure['verdict']}"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in (heading, ["---"] * len(heading), *rows)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="finished run directory of the ensemble")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the longer training and the comparison"
    )
    parser.add_argument("--clock", choices=CLOCKS, default="cpu", help="what same seconds are measured by")
    options = parser.parse_args()
    try:
        with ProgressBars() as progress:
            document = compare(options.run, options.out, progress, options.clock)
    except (ValueError, OSError) as error:
        error_line(str(error))
        sys.exit(2)
    print_text(markdown(document))


if __name__ == "__main__":
    main()
