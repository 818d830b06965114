"""Tables for external validation: an outside data set seen by a run's members, body parts matched by name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base_models.datasets import open_dataset
from base_models.members import load_trained_members
from base_models.prediction import predict_studies
from mura_app.run_directory import RunDirectory
from mura_app.tables import load_table
from mura_env import Predictions

Progress = Callable[[str, int, int], None]


def training_table(run: RunDirectory) -> Predictions:
    """Reads what the agents of a run learned from, wherever the run got it from.

    Raises:
        FileNotFoundError: It is not there any more.
        ValueError: The folder holds no run, or the table is damaged.
    """
    own = run.predictions / "train.npz"
    return load_table(own if own.is_file() else Path(str(run.read_config().get("train", own))))


def predict_dataset(
    run: RunDirectory, data: Path, progress: Progress | None = None
) -> tuple[Predictions, list[str]]:
    """Lets the trained members of a run read the radiographs of a data set.

    All studies of the data set are read; of the run's own data set, those of the test split only.

    Returns:
        The table, and what a reader of the result should know, one sentence each.

    Raises:
        FileNotFoundError: There is no such folder, or the run has no members.
        ValueError: The data set is of no known kind or has another number of classes, or an image is damaged.
    """
    config = run.read_config()
    members = load_trained_members(run.path)
    dataset = open_dataset(data, seed=int(config.get("seed", 0)))
    studies, remarks = dataset.studies, list(dataset.remarks)
    if config.get("data") == str(data.resolve()):
        studies = dataset.of_split("test")
        remarks.append("This is the data set that the run learned from; only its test split is scored.")
    classes = members[0].class_names
    if len(classes) != len(dataset.class_names):
        raise ValueError(
            f"expected a data set of the classes {', '.join(classes)}, got {', '.join(dataset.class_names)}"
        )
    if classes != dataset.class_names:
        pairs = ", ".join(
            f"{theirs} as {ours}" for theirs, ours in zip(dataset.class_names, classes, strict=True)
        )
        remarks.append(f"The data set's classes are matched with the run's by position: {pairs}.")
    table = Predictions.from_arrays(
        predict_studies(members, studies, progress),
        np.array([study.label for study in studies]),
        [study.body_part for study in studies],
        study_ids=[study.study_id for study in studies],
        patient_ids=[study.patient_id for study in studies],
        n_views=[len(study.image_paths) for study in studies],
        model_names=[member.config.name for member in members],
        class_names=classes,
    )
    return table, remarks


def parse_mapping(words: Sequence[str]) -> dict[str, str]:
    """Reads `theirs=ours` pairs of body parts.

    Raises:
        ValueError: A word is no such pair, or a body part is mapped twice.
    """
    mapping: dict[str, str] = {}
    for word in words:
        theirs, equals, ours = word.partition("=")
        if not (theirs and equals and ours):
            raise ValueError(f"expected --map-body-part THEIRS=OURS, such as hand=XR_HAND, got {word!r}")
        if mapping.setdefault(theirs, ours) != ours:
            raise ValueError(f"expected each body part to be mapped once, got {theirs!r} twice")
    return mapping


def map_body_parts(table: Predictions, mapping: Mapping[str, str], known: Sequence[str]) -> Predictions:
    """Renames body parts of an outside table; several may become one.

    Args:
        table: The outside table.
        mapping: Its names → the run's names; others stay as they are.
        known: Body parts of the run.

    Raises:
        ValueError: A name is not in the table, or not in the run.
    """
    for which, names, given in (
        ("the outside table", table.body_part_names, mapping.keys()),
        ("the run", known, mapping.values()),
    ):
        strange = sorted(set(given) - set(names))
        if strange:
            raise ValueError(f"expected body parts of {which} ({', '.join(names)}), got {', '.join(strange)}")
    names = [
        mapping.get(table.body_part_names[part], table.body_part_names[part]) for part in table.body_parts
    ]
    columns: dict[str, Any] = {
        name: getattr(table, name)
        for name in ("study_ids", "patient_ids", "n_views", "model_names", "class_names", "difficulty")
    }
    return Predictions.from_arrays(table.logits, table.labels, names, **columns)
