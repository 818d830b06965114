"""The documents that a run ends in: the report and the model card, both from the benchmark's figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base_models.datasets import Dataset, open_dataset
from mura_app.benchmark_shape import PROTOCOL, benchmark_shape
from mura_app.document_shape import ANYTHING, COUNT, TEXT, ByName, ListOf, Shape, misfit
from mura_app.report import write_report
from mura_app.report.model_card import write_model_card
from mura_app.report.sections import shown_changes
from mura_app.report.thumbnails import study_thumbnails
from mura_app.run_directory import RunDirectory
from mura_env.json_files import read_json

METADATA_CONTROL = "metadata only"
"""Name of the control that sees no pixel."""

_MEMBER = {
    **dict.fromkeys(("name", "network"), TEXT),
    **dict.fromkeys(("image_size", "epochs"), COUNT),
    "options": ByName(ANYTHING),
}
_SPLIT = {**dict.fromkeys(("studies", "images", "patients"), COUNT), "classes": ByName(COUNT)}
_TRAINING = {
    "dataset": {"name": TEXT, "remarks": ListOf(TEXT)},
    "counts": ByName(_SPLIT),
    "config": {"members": ListOf(_MEMBER, least=1), "folds": COUNT},
    "skipped_images": ByName(ANYTHING),
}
"""Shape of `training.json`, as far as the model card reads it."""


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
    document = _read(path, what, {"protocol": PROTOCOL})
    _check(document, path, what, benchmark_shape(document))
    return document


def read_training(run: RunDirectory) -> dict[str, Any]:
    """Read the record of the base models' training.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is damaged or edited.
    """
    return _read(run.training_path, "the record of a training", _TRAINING)


def _read(path: Path, what: str, shape: Shape) -> dict[str, Any]:
    """Read a document of this shape; `what` names it in messages."""
    document = read_json(path, what)
    _check(document, path, what, shape)
    return document


def _check(document: Mapping[str, Any], path: Path, what: str, shape: Shape) -> None:
    found = misfit(document, shape)
    if found is not None:
        raise ValueError(f"expected {what}, got {path} {found}; run its command again with --resume")


def dataset_of_run(run: RunDirectory) -> Dataset | None:
    """The data set of a run, if it had one and it is still in its place."""
    settings = run.read_config()
    if not isinstance(settings.get("data"), str) or not isinstance(settings.get("seed"), int):
        return None  # a benchmark of tables
    try:
        return open_dataset(Path(settings["data"]), seed=settings["seed"])
    except (ValueError, OSError):
        return None  # moved or changed since; the page does without its pictures
