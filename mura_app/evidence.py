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
from mura_env.json_files import read_json

METADATA_CONTROL = "metadata only"
"""Name of the control that sees no pixel."""

_BENCHMARK_KEYS = {
    "n_studies",
    "seeds",
    "protocol",
    "contested_share",
    "agents",
    "models",
    "controls",
    "weights_vary",
}


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
    has_members = run.training_path.is_file()
    training = read_json(run.training_path, "the record of a training") if has_members else None
    write_model_card(run.model_card_path, document, title=title, settings=settings, training=training)


def read_benchmark(run: RunDirectory) -> dict[str, Any]:
    """Read the document of a finished benchmark.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is damaged, or of another version.
    """
    document = read_json(run.benchmark_path, "a finished benchmark")
    missing = sorted(_BENCHMARK_KEYS - document.keys())
    if missing:
        raise ValueError(
            f"expected a finished benchmark of this version, got {run.benchmark_path} without "
            f"{missing[0]!r}; run the benchmark again with --resume"
        )
    return document


def dataset_of_run(run: RunDirectory) -> Dataset | None:
    """The data set of a run, if it had one and it is still in its place."""
    settings = run.read_config()
    if not isinstance(settings.get("data"), str) or not isinstance(settings.get("seed"), int):
        return None  # a benchmark of tables
    try:
        return open_dataset(Path(settings["data"]), seed=settings["seed"])
    except (ValueError, OSError):
        return None  # moved or changed since; the page does without its pictures
