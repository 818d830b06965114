"""Predictions on many studies as rows of a CSV or JSON-lines file, written as they come, and gone on with."""

import csv
import io
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from mura_app.inference.ensemble import Ensemble
from mura_app.prediction import PREDICTION, FailedStudy, StudyPrediction
from mura_app.terminal import standard_output
from mura_env.errors import UserError, UserFileExistsError
from mura_env.utils.files import naming, other_than_file, replacing


class RowWriter:
    """Writes rows to standard output, or to `FILE.part`, which becomes the file when all are there.

    Args:
        ensemble: What predicts; its names are the columns'.
        out: The file; None for standard output.
        form: `csv` or `jsonl`.
        resume: Go on with the rows that an interrupted file has.
    """

    def __init__(
        self, ensemble: Ensemble, out: Path | None, form: Literal["csv", "jsonl"], *, resume: bool
    ) -> None:
        self._out, self._form = out, form
        self._part = None if out is None else out.with_name(f"{out.name}.part")
        for file in (self._out, self._part):
            if file is not None and file.exists() and (other := other_than_file(file)):
                raise UserFileExistsError(f"expected a file to write, got {other} {file}; name another")
        names, members = ensemble.class_names, ensemble.agent.model_names_
        self._columns = [
            *("study_id", "body_part", "predicted_class", *(f"probability_{name}" for name in names)),
            *("threshold", "uniform_predicted_class", *(f"uniform_probability_{name}" for name in names)),
            *("agreement", "n_views", "unlike_percentile", "is_unlike"),
            *(f"probability_{names[-1]}/{member}" for member in members),
            *(f"weight/{member}" for member in members),
            *(("asked", "cost", "price") if ensemble.price is not None else ()),
            *(("decision", "ruled_out_below") if ensemble.rule_out is not None else ()),
            "error",
        ]
        self.done = self._kept() if resume else frozenset()
        """Studies that need not be predicted again."""
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        if self._part is not None:
            with naming(self._part):
                self._file = self._part.open("a" if self.done else "w", encoding="utf-8", newline="")
        if self._form == "csv" and not self.done:
            self._line(self._csv(self._columns))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None and self._part is not None and self._out is not None:
            self._file.close()
            if kind is None:
                self._part.replace(self._out)

    def write(self, found: StudyPrediction | FailedStudy) -> None:
        """Write one study's row."""
        if self._form == "jsonl":
            self._line(json.dumps(PREDICTION.dump_python(found, mode="json"), allow_nan=False))
        else:
            row = self._row(found)
            self._line(self._csv([row.get(column, "") for column in self._columns]))

    def _row(self, found: StudyPrediction | FailedStudy) -> dict[str, Any]:
        if isinstance(found, FailedStudy):
            return {"study_id": found.study_id, "error": found.error}
        last = found.class_names[-1]
        return {
            "study_id": found.study_id,
            "body_part": found.body_part or "",
            "predicted_class": found.predicted_class,
            **{f"probability_{n}": p for n, p in zip(found.class_names, found.probabilities, strict=True)},
            "threshold": "" if found.threshold is None else found.threshold,
            "uniform_predicted_class": found.uniform_predicted_class,
            **{
                f"uniform_probability_{n}": p
                for n, p in zip(found.class_names, found.uniform_probabilities, strict=True)
            },
            "agreement": found.agreement,
            "n_views": found.n_views,
            **(
                {}
                if found.unlike is None
                else {"unlike_percentile": found.unlike.percentile, "is_unlike": found.unlike.is_unlike}
            ),
            **{f"probability_{last}/{member.name}": member.probabilities[-1] for member in found.members},
            **{f"weight/{member.name}": member.weight for member in found.members},
            **_asked(found),
        }

    def _csv(self, cells: list[Any]) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(cells)  # only signs in it are put in quotes
        return text.getvalue().removesuffix("\r\n")

    def _line(self, text: str) -> None:
        if self._file is None:
            with standard_output() as console:
                console.file.write(text + "\n")
        else:
            self._file.write(text + "\n")
            self._file.flush()

    def _kept(self) -> frozenset[str]:
        """Return the studies of an interrupted file, whose last line may be half of one and is taken away."""
        if self._out is not None and self._out.exists():
            raise UserError(f"expected an interrupted file to go on with, got {self._out}, which is finished")
        if self._part is None or not self._part.is_file():
            return frozenset()
        try:
            rows = _whole_rows(self._part.read_bytes().decode())
            if self._form == "jsonl":
                studies = [json.loads(row)["study_id"] for row in rows]
            else:
                header, *cells = [next(csv.reader([row])) for row in rows] or [self._columns]
                if header != self._columns or any(len(row) != len(header) for row in cells):
                    raise ValueError("other columns")
                studies = [row[0] for row in cells]
            done = frozenset(str(study) for study in studies)
        except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
            raise UserError(
                f"expected rows of this run in {self._part}, got others ({error}); remove it, or leave out "
                "--resume"
            ) from error
        with replacing(self._part) as temporary:
            temporary.write_bytes("".join(rows).encode())
        return done


def _whole_rows(text: str) -> list[str]:
    """Return the rows of a text that are whole; quotation marks come in pairs, and may hold line breaks."""
    rows, row = [], ""
    for line in text.split("\n")[:-1]:  # other signs that end lines are parts of names
        row += f"{line}\n"
        if row.count('"') % 2 == 0:
            rows.append(row)
            row = ""
    return rows


def _asked(found: StudyPrediction) -> dict[str, Any]:
    """Return the cells of which members were asked, and of the decision with a guarantee."""
    cells: dict[str, Any] = {}
    if found.asked is not None:
        asked = found.asked
        cells |= {"asked": " ".join(asked.members), "cost": asked.cost, "price": asked.price}
    if found.ruled_out is not None:
        cells |= {"decision": found.ruled_out.decision, "ruled_out_below": found.ruled_out.below}
    return cells
