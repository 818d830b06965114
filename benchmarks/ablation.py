"""What makes a member worth weighting? One network, one change after another, scored out of fold.

Each step keeps the changes before it: fresh weights, ImageNet's, more pixels, cropped to the patient, taught
by experts' boxes, and a second member beside it that is a specialist. Every step is cross-fitted on the
training studies alone; the test studies are not looked at. Prints AUROC, AUROC within body parts and the best
kappa of the calibrated out-of-fold probabilities, with CPU seconds; intervals are by patient.

    python benchmarks/ablation.py --data fracatlas --out runs/ablation [--network efficientnet_lite0]

An interrupted ablation resumes where it was stopped.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from compare_with_one_network import N_RESAMPLES, kappa_threshold, threshold_at_half

from agents.benchmark.scoring import ScoredTable
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig, ensemble_document
from base_models.datasets import open_dataset
from base_models.datasets.study import Dataset
from base_models.ensemble import train_ensemble
from mura_app.terminal import ProgressBars, error_line, print_text
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.files import read_json, write_json
from mura_env.utils.progress import Progress

SMALL = 128
"""Side of the smaller input in pixels."""
FIGURES = ("auroc", "auroc_within_body_parts", "kappa")
Change = Callable[[EnsembleConfig, Dataset], EnsembleConfig]


def _of_members(**changes: Any) -> Change:
    """Return a change of every member."""
    return lambda config, _: replace(
        config, members=tuple(replace(member, **changes) for member in config.members)
    )


def _of_training(**changes: Any) -> Change:
    return lambda config, _: replace(config, training=replace(config.training, **changes))


def _with_specialist(config: EnsembleConfig, dataset: Dataset) -> EnsembleConfig:
    """Add a second member, a specialist of the body part with most studies."""
    parts = [study.body_part for study in dataset.of_split("train")]
    most = max(dataset.body_part_names, key=parts.count)
    specialist = replace(config.members[0], name="specialist", body_parts=(most,))
    return replace(config, members=(*config.members, specialist))


def steps(size: int) -> dict[str, Change]:
    """Return the changes by name, in their order."""
    return {
        "fresh weights": lambda config, _: config,
        "ImageNet's weights": _of_members(pretrained=True),
        f"{size} pixels": _of_members(image_size=size),
        "cropped to the patient": lambda config, _: replace(config, crop=True),
        "taught by boxes": _of_training(box_loss=1.0),
        "with a specialist": _with_specialist,
    }


def beginning(network: str, epochs: int, folds: int) -> EnsembleConfig:
    """Return what the first step trains."""
    training = TrainingConfig(learning_rate=1e-3, augmentation="wide", box_loss=0.0)
    member = MemberConfig(network.replace("_", "-"), network=network, image_size=SMALL, epochs=epochs)
    return EnsembleConfig((member,), training, folds=folds)


def score(table: Predictions) -> dict[str, Any]:
    """Return figures of the uniform average of a table's models, each with its 95 % interval by patient."""
    probabilities = table.probabilities.mean(axis=1).astype(np.float64)
    moved = threshold_at_half(probabilities, kappa_threshold(table.labels, probabilities))[None]
    row = ScoredTable(table, N_RESAMPLES, moved).row(moved, is_baseline=True)
    contested = (table.logits.argmax(axis=2) != table.logits.argmax(axis=2)[:, :1]).any(axis=1)
    return {name: {"mean": row[name]["mean"], "ci95": row[name]["ci95"]} for name in FIGURES} | {
        "contested": float(contested.mean())
    }


def run(data: Path, out: Path, config: EnsembleConfig, size: int, progress: Progress) -> dict[str, Any]:
    """Train what is not yet trained, step by step, write `ablation.json` and return it."""
    dataset = open_dataset(data)
    rows: dict[str, Any] = {}
    for number, (name, change) in enumerate(steps(size).items()):
        config = change(config, dataset)
        folder = out / f"{number}-{name.replace(' ', '-')}"
        began = time.perf_counter()
        train, _ = train_ensemble(
            dataset,
            config,
            folder,
            resume=True,
            cache_dir=out / "image_cache",
            progress=lambda what, *counts, of=name: progress(f"{of}, {what}", *counts),
        )
        fits = read_json(folder / "training.json", "the record of a training")["fits"].values()
        seconds = sum(fit["cpu_seconds"] for of_member in fits for fit in of_member)
        rows[name] = score(train) | {"cpu_seconds": seconds, "wall_seconds": time.perf_counter() - began}
        document = {
            "data": dataset.name,
            "n_studies": len(train),
            "config": ensemble_document(config),
            "steps": rows,
        }
        write_json(out / "ablation.json", document)
        print_text(line(name, rows[name]))
    return document


def line(name: str, row: Mapping[str, Any]) -> str:
    """Return a step's row of the table, in Markdown."""
    cells = [
        f"{row[key]['mean']:.3f} ({row[key]['ci95'][0]:.3f} to {row[key]['ci95'][1]:.3f})" for key in FIGURES
    ]
    cells += [format(row["contested"], ".1%"), format(row["cpu_seconds"], ",.0f")]
    return f"| {' | '.join([name, *cells])} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the trainings and `ablation.json`"
    )
    parser.add_argument("--network", default="efficientnet_lite0", help="network with published weights")
    parser.add_argument("--epochs", type=int, default=8, help="epochs of each fit")
    parser.add_argument("--folds", type=int, default=2, help="folds of the cross-fitting")
    parser.add_argument("--size", type=int, default=224, help="pixels of the larger input")
    options = parser.parse_args()
    print_text(
        "| step | AUROC | within body parts | kappa | contested | CPU seconds |\n|---|---|---|---|---|---|"
    )
    try:
        config = beginning(options.network, options.epochs, options.folds)
        with ProgressBars() as progress:
            run(options.data, options.out, config, options.size, progress)
    except (UserError, OSError) as error:
        error_line(str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
