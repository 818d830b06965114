"""What the report of a run shows, in Python and as files: figures, tables, each agent's outputs by study.

from mura_app import figures

figures.figures("runs/demo")["difference"].save(Path("difference.pdf"))
figures.export("runs/demo", "paper")
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.benchmark.external_validation import saved_results
from agents.benchmark.fits import AgentResult
from mura_app.artifacts import read_benchmark
from mura_app.external_validation import training_table
from mura_app.predictions_io import load_table
from mura_app.report.drawing import Plot
from mura_app.report.html_table import Table
from mura_app.report.page import page_values
from mura_app.report.plain_table import csv_text, latex_text
from mura_app.run_directory import RunDirectory
from mura_env import Predictions, matched_to
from mura_env.errors import UserFileExistsError, UserFileNotFoundError
from mura_env.utils.files import write_text

__all__ = ["Plot", "Table", "csv_text", "export", "figures", "latex_text", "study_outputs", "tables"]

OUTPUTS = "study_outputs.csv"
"""File of what every agent made of every test study."""

Shown = TypeVar("Shown", Plot, Table)


def figures(run: str | Path) -> dict[str, Plot]:
    """Return every figure of a finished run's report by name; `save` writes one as SVG or PDF."""
    return {plot.name: plot for plot in _all(_values(run), Plot)}


def tables(run: str | Path) -> dict[str, Table]:
    """Return every table of a finished run's report by name, for `csv_text` and `latex_text`."""
    return {_file_name(table.caption): table for table in _all(_values(run), Table)}


def study_outputs(run: str | Path) -> list[dict[str, Any]]:
    """Return what each agent of a finished run made of each test study, averaged over its seeds.

    Returns:
        One row a study and agent: identifiers, true and predicted class, the probability of each class and
        the weight of each model.

    Raises:
        UserFileNotFoundError: If a table or agent is no longer where the run had it.
    """
    place = RunDirectory(Path(run))
    config, document = place.read_config(), read_benchmark(place)
    home = RunDirectory(Path(config["evaluated_run"])) if config.get("evaluated_run") else place
    train = training_table(home)
    own = place.predictions / "test.npz"
    path = own if own.is_file() else Path(str(config.get("test") or own))
    test = matched_to(load_table(path, config.get("positive")), train)
    results = saved_results(home.path, train, test, [*document["agents"]], document["seeds"])
    return [row for name, result in results.items() for row in _rows(name, result, test)]


def export(run: str | Path, folder: str | Path, *, overwrite: bool = False) -> list[Path]:
    """Write every figure as SVG and PDF, every table as CSV and LaTeX, and `study_outputs` as CSV.

    `study_outputs.csv` is left out where the run's tables or agents are no longer in their place.

    Args:
        run: Run directory with `benchmark.json`.
        folder: Where `figures/`, `tables/` and `study_outputs.csv` are written.
        overwrite: Replace those that are already there.

    Returns:
        The files.

    Raises:
        UserFileExistsError: If files are there already.
    """
    values, out = _values(run), Path(folder)
    plots = {out / "figures" / _file_name(plot.name): plot for plot in _all(values, Plot)}
    shown = {out / "tables" / _file_name(table.caption): table for table in _all(values, Table)}
    kinds = {"svg": [*plots], "pdf": [*plots], "csv": [*shown], "tex": [*shown]}
    files = [path.with_name(f"{path.name}.{kind}") for kind, paths in kinds.items() for path in paths]
    outputs = out / OUTPUTS
    if not overwrite and (there := [path for path in (*files, outputs) if path.exists()]):
        raise UserFileExistsError(f"{there[0]} already exists; choose another folder, or add --overwrite")
    try:
        rows = study_outputs(run)
    except UserFileNotFoundError:
        rows = []
    for path, plot in plots.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        for kind in ("svg", "pdf"):
            plot.save(path.with_name(f"{path.name}.{kind}"))
    for path, table in shown.items():
        write_text(path.with_name(f"{path.name}.csv"), csv_text(table))
        write_text(path.with_name(f"{path.name}.tex"), latex_text(table))
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(outputs, text.getvalue())
        files.append(outputs)
    return files


def _values(run: str | Path) -> dict[str, Any]:
    place = RunDirectory(Path(run))
    place.read_config()  # a folder that is no run is said to be none
    return page_values(read_benchmark(place))


def _all(value: Any, kind: type[Shown]) -> Iterator[Shown]:
    """Find everything of a kind among the values of the page, in their order."""
    if isinstance(value, kind):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _all(inner, kind)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name.casefold()).strip("-.")


def _rows(name: str, result: AgentResult, test: Predictions) -> Iterator[dict[str, Any]]:
    probabilities, weights = result.probabilities.mean(axis=0), result.weights.mean(axis=0)
    for i in range(len(test)):
        yield {
            "study_id": str(test.study_ids[i]),
            "patient_id": str(test.patient_ids[i]),
            test.group_name.replace(" ", "_"): test.body_part_names[test.body_parts[i]],
            "label": test.class_names[test.labels[i]],
            "agent": name,
            "predicted_class": test.class_names[probabilities[i].argmax()],
            **_numbers("probability_", test.class_names, probabilities[i]),
            **_numbers("weight_", test.model_names, weights[i]),
        }


def _numbers(prefix: str, names: tuple[str, ...], values: NDArray[np.float32]) -> dict[str, float]:
    return {prefix + name: round(float(value), 6) for name, value in zip(names, values, strict=True)}
