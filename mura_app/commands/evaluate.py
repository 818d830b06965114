"""`mura evaluate`: a finished run on an outside data set (external validation)."""

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mura_app.artifacts import read_benchmark, write_benchmark
from mura_app.commands.options import AsJson, CheckedOptions
from mura_app.console import show_benchmark
from mura_app.locks import lock_in
from mura_app.run_directory import RunDirectory, resolved_name
from mura_app.terminal import ProgressBars, message
from mura_env import Predictions
from mura_env.cells import spelling
from mura_env.class_order import positive_class
from mura_env.errors import UserError, UserFileExistsError

if TYPE_CHECKING:
    from mura_app.external_validation import Outside


@dataclass(frozen=True)
class Command(CheckedOptions):
    """Options of `mura evaluate`."""

    run_directory: Annotated[Path, tyro.conf.arg(name="run")]
    """Run directory with `benchmark.json`; nothing of the run is changed."""

    data: Path | None = None
    """Folder of outside radiographs, which the run's trained members read (or give `--predictions`)."""

    predictions: Path | None = None
    """Predictions table of outside studies (`.npz` or `.csv`), outputs of the run's own members."""

    images: Path | None = None
    """With `--predictions`: a table of the same studies' radiographs for figures at image level."""

    map_body_part: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A body part of the outside data and the run's name of it, such as `hand=XR_HAND`; may be repeated.
    Parts that the run does not know get the reference weights, with a warning."""

    positive: str | None = None
    """The positive one of two classes of the outside data, where their names do not tell."""

    skip_bad_images: bool = False
    """Leave out images that cannot be read instead of stopping; the evaluation says which."""

    out: Path | None = None
    """Folder to write, by default `evaluations/<name of the data>` in the run directory."""

    overwrite: bool = False
    """Replace the evaluation that the folder already holds."""

    json: AsJson = False

    @property
    def name(self) -> str:
        """The name of the outside data."""
        name = resolved_name(self._source())
        return name if self.predictions is None else Path(name).stem

    @property
    def folder(self) -> Path:
        """The folder to write."""
        place = self.run_directory / "evaluations" / self.name
        meant = Path(os.path.realpath(self.run_directory), "evaluations", self.name)
        if self.out is None and Path(os.path.realpath(place)) != meant:
            raise UserError(
                f"expected {place} to lie in the run, got a link out of it; name another folder with --out"
            )
        return self.out or place

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return (lock_in(self.folder),)

    @property
    def reads(self) -> tuple[Path, ...]:
        """The locks of what it reads."""
        return (lock_in(self.run_directory),) if self.run_directory.is_dir() else ()

    def run(self) -> None:
        """Predict if needed, score and report."""
        from mura_app.external_validation import parse_mapping, training_table

        source = self._source()
        run = RunDirectory(self.run_directory)
        run.read_config()
        out = RunDirectory(self.folder)
        if not out.is_free and not self.overwrite:
            raise UserFileExistsError(f"{out.path} already exists; choose another --out, or add --overwrite")
        if not out.is_free and not (out.config_path.is_file() and "evaluated_run" in out.read_config()):
            raise UserFileExistsError(  # it may well be the run itself
                f"expected an evaluation to replace, got {out.path} with something else; choose another --out"
            )
        finished = read_benchmark(run)
        mapping = parse_mapping(self.map_body_part)
        train = training_table(run)
        own = positive_class(train.class_names)
        if self.positive is not None and own and spelling(self.positive) == spelling(train.class_names[0]):
            raise UserError(
                f"expected the run's positive class {own!r}, got --positive {self.positive}; name the run's"
            )
        with ProgressBars() as progress:
            outside = self._outside(run, mapping, train.body_part_names, progress)
            document = _scored(run, train, outside, finished, progress)
        for remark in (remarks := [*outside.remarks, *_shared_patients(train, outside.table)]):
            message(remark)
        document["protocol"]["notes"] += remarks
        settings = {
            "evaluated_run": str(run.path.resolve()),
            "outside": str(source.resolve()),
            "body_part_map": mapping,
            "skipped_images": dict(outside.skipped_images),
        }
        sources = filter(None, (run.path, source, self.images))
        out.claim(settings, sources=sources, overwrite=self.overwrite)
        out.predictions.mkdir(parents=True, exist_ok=True)
        outside.table.save(out.predictions / "test.npz")
        if outside.images is not None:
            outside.images.save(out.predictions / "test-images.npz")
        title = f"{self.name}, external validation of {run.path.resolve().name}"
        document = write_benchmark(out, document, title=title, dataset=outside.dataset)
        show_benchmark(document, out, as_json=self.json)

    def _source(self) -> Path:
        """Return where the outside studies come from."""
        given = [path for path in (self.data, self.predictions) if path is not None]
        if len(given) != 1:
            raise UserError(f"expected either --data or --predictions, got {'both' if given else 'neither'}")
        if self.images is not None and self.predictions is None:
            raise UserError("expected --images beside --predictions, got it beside --data; leave it out")
        return given[0]

    def _outside(
        self, run: RunDirectory, mapping: dict[str, str], known: Sequence[str], progress: ProgressBars
    ) -> "Outside":
        from mura_app.external_validation import outside_tables, predict_dataset

        if self.predictions is not None:
            return outside_tables(self.predictions, self.images, mapping, known, self.positive)
        return predict_dataset(
            run,
            self._source(),
            mapping,
            known,
            progress,
            positive=self.positive,
            skip_bad_images=self.skip_bad_images,
        )


def _scored(
    run: RunDirectory,
    train: Predictions,
    outside: "Outside",
    finished: dict[str, Any],
    progress: ProgressBars,
) -> dict[str, Any]:
    """Score the run's agents; what the library warns of becomes a message."""
    from agents.benchmark.external_validation import evaluate_saved_agents

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        document = evaluate_saved_agents(
            run.path,
            train,
            outside.table,
            list(finished["agents"]),
            finished["seeds"],
            thresholds={name: row["threshold"]["mean"] for name, row in finished["agents"].items()},
            controls=outside.controls,
            outside_images=outside.images,
            progress=progress,
        )
    for warning in dict.fromkeys(str(each.message) for each in caught):
        message(f"warning: {warning}")
        document["protocol"]["notes"].append(warning[0].upper() + warning[1:] + ".")
    return document


def _shared_patients(train: Predictions, table: Predictions) -> list[str]:
    """Say how many patients have names that are in the training table too."""
    shared = len({*map(str, train.patient_ids)} & {*map(str, table.patient_ids)})
    if not shared:
        return []
    return [
        f"{shared} patient ids are in the training table too; if they are the same people and not only the "
        "same names, these figures are too good."
    ]
