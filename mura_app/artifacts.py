"""The documents that a run ends in: the report and the model card, both from the benchmark's figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base_models.datasets import Dataset, open_dataset
from mura_app.report import write_report
from mura_app.report.model_card import write_model_card
from mura_app.report.sections import shown_changes
from mura_app.report.thumbnails import study_thumbnails
from mura_app.run_directory import RunDirectory
from mura_app.schema import (
    ANYTHING,
    COUNT,
    PROTOCOL,
    TEXT,
    benchmark_shape,
    by_name,
    list_of,
    read_document,
    record,
)

METADATA_CONTROL = "metadata only"
"""Name of the control that sees no pixel."""

_MEMBER = record({"name network": TEXT, "image_size epochs": COUNT, "options": by_name(ANYTHING)})
_SPLIT = record({"studies images patients": COUNT, "classes": by_name(COUNT)})
_TRAINING = record(
    {
        "dataset": record({"name": TEXT, "remarks": list_of(TEXT)}),
        "counts": by_name(_SPLIT),
        "config": record({"members": list_of(_MEMBER, least=1), "folds": COUNT}),
        "skipped_images": by_name(ANYTHING),
        "misnamed_images? odd_images?": by_name(ANYTHING),
        "unlisted_files? skipped_studies?": list_of(TEXT),
        "shared_pictures?": list_of(list_of(TEXT)),
    }
)
"""Shape of `training.json`, as far as the model card reads it."""
_ADVICE = "run its command again with --resume"


def write_evidence(
    run: RunDirectory, document: Mapping[str, Any], *, title: str, dataset: Dataset | None = None
) -> None:
    """Writes `report.html` and `MODEL_CARD.md` of a run.

    Args:
        run: The run, with its `config.json`.
        document: What `benchmark.json` holds.
        title: What the report is about, such as the data set's name.
        dataset: Where the radiographs lie, for thumbnails of changed verdicts; without it there are none.
    """
    settings = run.read_config()
    thumbnails = {} if dataset is None else study_thumbnails(dataset, shown_changes(document))
    write_report(run.report_path, document, title=title, settings=settings, thumbnails=thumbnails)
    training = read_training(run) if run.training_path.is_file() else None
    write_model_card(run.model_card_path, document, title=title, settings=settings, training=training)


def read_benchmark(run: RunDirectory) -> dict[str, Any]:
    """Read the document of a finished benchmark.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is damaged or edited, or of another version.
    """
    path, what = run.benchmark_path, "a finished benchmark of this version"
    protocol = read_document(path, what, record({"protocol": PROTOCOL}), _ADVICE)["protocol"]
    return read_document(path, what, benchmark_shape(protocol), _ADVICE)


def read_training(run: RunDirectory) -> dict[str, Any]:
    """Read the record of the base models' training.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is damaged or edited.
    """
    return read_document(run.training_path, "the record of a training", _TRAINING, _ADVICE)


def dataset_of_run(run: RunDirectory) -> Dataset | None:
    """The data set of a run, if it had one and it is still in its place."""
    settings = run.read_config()
    if not isinstance(settings.get("data"), str) or not isinstance(settings.get("seed"), int):
        return None  # a benchmark of tables
    try:
        return open_dataset(Path(settings["data"]), seed=settings["seed"])
    except (ValueError, OSError):
        return None  # moved or changed since; the page does without its pictures
