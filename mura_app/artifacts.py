"""What a run ends in: `benchmark.json`, and the report and the model card that show it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.benchmark.document import Benchmark
from base_models.datasets import Dataset, open_dataset
from mura_app.inference.facts import MEASURED, read_measured
from mura_app.report import write_report
from mura_app.report.model_card import render_model_card
from mura_app.report.sections import shown_changes
from mura_app.report.thumbnails import study_thumbnails
from mura_app.run_directory import RunDirectory
from mura_app.schema import TrainingRecord, read_document
from mura_env.utils.files import write_json, write_text

METADATA_CONTROL = "metadata only"
"""Name of the control that sees no pixel."""

_ADVICE = "run its command again with --resume"


def write_benchmark(
    run: RunDirectory, figures: Mapping[str, Any], *, title: str, dataset: Dataset | None = None
) -> dict[str, Any]:
    """Write `benchmark.json` of a run, which has its `config.json`, and what shows it; return the document.

    Thumbnails of changed predictions come from the data set.
    """
    document = {"title": title, **figures}
    Benchmark.model_validate(document)
    write_json(run.benchmark_path, document)
    write_pages(run, document, dataset)
    return document


def write_pages(run: RunDirectory, document: Mapping[str, Any], dataset: Dataset | None = None) -> None:
    """Write `report.html`, with thumbnails if there is a data set, and `MODEL_CARD.md` of a run."""
    settings, title = run.read_config(), document.get("title") or run.path.resolve().name
    thumbnails = {} if dataset is None else study_thumbnails(dataset, shown_changes(document))
    write_report(run.report_path, document, title=title, settings=settings, thumbnails=thumbnails)
    write_model_card(run, document)


def write_model_card(run: RunDirectory, document: Mapping[str, Any]) -> None:
    """Write `MODEL_CARD.md` of a run."""
    settings, title = run.read_config(), document.get("title") or run.path.resolve().name
    training = read_training(run) if run.training_path.is_file() else None
    measured = run.path / MEASURED
    explained = read_measured(measured).model_dump() if measured.is_file() else None
    card = render_model_card(document, title=title, settings=settings, training=training, explained=explained)
    write_text(run.model_card_path, card)


def read_benchmark(run: RunDirectory) -> dict[str, Any]:
    """Read the document of a finished benchmark; a damaged or edited one is refused."""
    return read_document(run.benchmark_path, Benchmark, "a finished benchmark of this version", _ADVICE)


def read_training(run: RunDirectory) -> dict[str, Any]:
    """Read the record of the base models' training; a damaged or edited one is refused."""
    return read_document(run.training_path, TrainingRecord, "the record of a training", _ADVICE)


def dataset_of_run(run: RunDirectory) -> Dataset | None:
    """Return the data set of a run, if it had one and it is still in its place."""
    settings = run.read_config()
    if settings.get("data") is None or settings.get("seed") is None:
        return None  # a benchmark of tables
    try:
        return open_dataset(Path(settings["data"]), seed=settings["seed"], positive=settings.get("positive"))
    except (ValueError, OSError):
        return None  # moved or changed since; the page does without its radiographs
