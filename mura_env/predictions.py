"""The predictions table: what the base models predict for every study, and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds
from mura_env.predictions_csv import read_csv, write_csv
from mura_env.predictions_npz import read_npz, write_npz
from mura_env.table_checks import (
    as_array,
    body_part_indices,
    checked_columns,
    logits_from_probabilities,
    name_tuple,
    numbered_names,
    real_array,
    row_indices,
)


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """Logits of several models for the same studies, with labels, body parts and patients.

    The table is immutable: every column is copied, checked and made read-only, so that environments and
    agents share it freely. Build it with `from_arrays`, `from_probabilities`, `from_csv` or `load`.
    """

    logits: NDArray[np.float32]
    """float32 ``(n_studies, n_models, n_classes)``; softmax over the last axis is a model's class
    probability."""
    labels: NDArray[np.int64]
    """int64 ``(n_studies,)``, the true class, 0 ≤ label < n_classes."""
    body_parts: NDArray[np.int64]
    """int64 ``(n_studies,)``, index into ``body_part_names``."""
    study_ids: NDArray[np.str_]
    """str ``(n_studies,)``, unique."""
    patient_ids: NDArray[np.str_]
    """str ``(n_studies,)``; a patient's studies stay together in every split."""
    n_views: NDArray[np.int64]
    """int64 ``(n_studies,)``, radiographs in the study, ≥ 1."""
    model_names: tuple[str, ...]
    """One name per model."""
    class_names: tuple[str, ...]
    """One name per class, at least two."""
    body_part_names: tuple[str, ...]
    """One name per body part; a part may have no study."""
    difficulty: NDArray[np.float32] | None = None
    """Optional float32 ``(n_studies,)`` in [0, 1]: how hard readers found the study (0 easy, 1 hardest)."""

    def __post_init__(self) -> None:
        for name, value in checked_columns({name: getattr(self, name) for name in _FIELD_NAMES}).items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        logits: ArrayLike,
        labels: ArrayLike,
        body_parts: ArrayLike | None = None,
        *,
        study_ids: ArrayLike | None = None,
        patient_ids: ArrayLike | None = None,
        n_views: ArrayLike | None = None,
        model_names: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        body_part_names: Sequence[str] | None = None,
        difficulty: ArrayLike | None = None,
    ) -> Predictions:
        """Build a table from arrays; whatever is left out gets a sensible default.

        Args:
            logits: Real numbers ``(n_studies, n_models, n_classes)``.
            labels: Integers ``(n_studies,)``, the true classes.
            body_parts: Indices into ``body_part_names``, or names, ``(n_studies,)``; one part ``all`` by
            default.
            study_ids: Unique identifiers; ``study-0``, ``study-1``, … by default.
            patient_ids: Patients; by default every study is its own patient.
            n_views: Radiographs per study; 1 by default.
            model_names: ``model-0``, … by default.
            class_names: ``normal, abnormal`` for two classes, else ``class-0``, … by default.
            body_part_names: By default the sorted names in ``body_parts``, or ``part-0``, … for indices.
            difficulty: How hard readers found each study, in [0, 1]; none by default.

        Returns:
            The checked table.

        Raises:
            ValueError: If a shape, type, range or name is wrong.
        """
        values = real_array(logits, "logits", "(n_studies, n_models, n_classes)", 3)
        n_studies, n_models, n_classes = values.shape
        if body_parts is None:
            indices, part_names = np.zeros(n_studies, np.int64), tuple(body_part_names or ("all",))
        else:
            indices, part_names = body_part_indices(as_array(body_parts, "body parts"), body_part_names)
        ids = numbered_names("study", n_studies) if study_ids is None else study_ids
        default_classes = ("normal", "abnormal") if n_classes == 2 else numbered_names("class", n_classes)
        models = numbered_names("model", n_models) if model_names is None else model_names
        classes = default_classes if class_names is None else class_names
        return cls(
            logits=values,
            labels=as_array(labels, "labels"),
            body_parts=indices,
            study_ids=as_array(ids, "study ids"),
            patient_ids=as_array(ids if patient_ids is None else patient_ids, "patient ids"),
            n_views=np.ones(n_studies, np.int64) if n_views is None else as_array(n_views, "n_views"),
            model_names=name_tuple(models, "model names", n_models),
            class_names=name_tuple(classes, "class names", n_classes),
            body_part_names=part_names,
            difficulty=None if difficulty is None else as_array(difficulty, "difficulty"),
        )

    @classmethod
    def from_probabilities(
        cls, probabilities: ArrayLike, labels: ArrayLike, *args: Any, **columns: Any
    ) -> Predictions:
        """Build a table from class probabilities instead of logits; all else as in `from_arrays`.

        Args:
            probabilities: Array ``(n_studies, n_models, n_classes)`` in [0, 1], rows summing to one.
            labels: Integers ``(n_studies,)``, the true classes.
            *args: ``body_parts``, as in `from_arrays`.
            **columns: The other columns, as in `from_arrays`.

        Returns:
            The checked table, whose `probabilities` are those given.

        Raises:
            ValueError: If a probability lies outside [0, 1], a row does not sum to one, or a column is wrong.
        """
        return cls.from_arrays(logits_from_probabilities(probabilities), labels, *args, **columns)

    @classmethod
    def from_csv(
        cls, path: str | PathLike[str], *, body_part_names: Sequence[str] | None = None
    ) -> Predictions:
        """Read the long form, one row per study and model, in any order of rows and columns.

        Columns: ``study_id``, ``label`` (index or class name), ``model``; if wanted ``patient_id``,
        ``body_part``, ``n_views``, ``difficulty``; then ``logit_<class>`` or ``probability_<class>`` of every
        class. Studies, models and classes keep the order of the file; body parts are sorted, so that tables
        of the same parts agree.

        Args:
            path: The file, UTF-8, comma-separated.
            body_part_names: The body parts in a given order, for example those of a training table.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a column is unknown or missing, a cell cannot be read, probabilities do not sum to
                one, rows contradict each other, a study lacks a model or has one twice, or there is no row.
        """
        columns = read_csv(path)
        try:
            return cls.from_arrays(**columns, body_part_names=body_part_names)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write the long form that `from_csv` reads, with logits, atomically. The folder must exist."""
        write_csv(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Predictions:
        """Read a table that `save` wrote; nothing in the file is executed.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or no predictions table.
        """
        columns = read_npz(path)
        try:
            return cls(**columns)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from None

    def save(self, path: str | PathLike[str]) -> None:
        """Write the table as ``.npz``, atomically: the file is whole or not there. The folder must exist."""
        write_npz(path, {name: getattr(self, name) for name in _FIELD_NAMES})

    @property
    def n_models(self) -> int:
        """Number of models."""
        return int(self.logits.shape[1])

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.logits.shape[2])

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Class probabilities of every model, the softmax of the logits: a new array of the logits' shape."""
        shifted: NDArray[np.float32] = self.logits - self.logits.max(axis=-1, keepdims=True)
        np.exp(shifted, out=shifted)
        shifted /= shifted.sum(axis=-1, keepdims=True)
        return shifted

    def select(self, index: ArrayLike | slice) -> Predictions:
        """Take some of the studies, in the order given.

        Args:
            index: Row indices, a boolean mask ``(n_studies,)``, or a slice. The names stay as they are.

        Returns:
            A new table.

        Raises:
            ValueError: If nothing is selected, a study is selected twice, or an index is out of range.
        """
        rows = row_indices(index, len(self))
        return Predictions(**{name: _rows(getattr(self, name), rows) for name in _FIELD_NAMES})

    def folds(self, n_folds: int, seed: int, shares: Sequence[float] | None = None) -> NDArray[np.int64]:
        """Divide the studies into folds by patient, stratified by body part and label.

        Args:
            n_folds: Number of folds, at least 2.
            seed: Draws the order in which patients are placed, at least 0.
            shares: Share of the studies in each fold; equal by default.

        Returns:
            Fold of each study, int64 ``(n_studies,)``, from 0; see `mura_env.patient_split`.

        Raises:
            ValueError: If there are fewer patients than folds, or the seed is out of range.
        """
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise UserError(f"expected a whole number of at least 0 as seed, got {seed!r}")
        strata = self.body_parts * self.n_classes + self.labels
        return stratified_group_folds(strata, self.patient_ids, n_folds, seed, shares)

    def split(self, fraction: float, seed: int) -> tuple[Predictions, Predictions]:
        """Split by patient, stratified by body part and label.

        Args:
            fraction: Share of the studies of every body part and label in the first table, in (0, 1).
            seed: As in `folds`.

        Returns:
            Two tables without a common patient, each in this table's order.

        Raises:
            ValueError: If the fraction or seed is out of range or there are fewer than two patients.
        """
        if not 0 < fraction < 1:
            raise UserError(f"expected a fraction between 0 and 1, got {fraction}")
        first = self.folds(2, seed, (fraction, 1 - fraction)) == 0
        return self.select(first), self.select(~first)

    @staticmethod
    def concatenate(tables: Iterable[Predictions]) -> Predictions:
        """Put tables of the same models and classes below one another.

        Body parts are matched by name; difficulty is kept only where every table has it.

        Raises:
            ValueError: If there is no table, models or classes differ, or a study id occurs twice.
        """
        parts = tuple(tables)
        if not parts:
            raise ValueError("expected at least one table to concatenate, got none")
        for table in parts[1:]:
            for name in ("model_names", "class_names"):
                if getattr(table, name) != getattr(parts[0], name):
                    both = f"{getattr(parts[0], name)} and {getattr(table, name)}"
                    raise UserError(f"expected tables of equal {name}, got {both}")
        names = tuple(dict.fromkeys(name for table in parts for name in table.body_part_names))
        columns: dict[str, Any] = {
            name: np.concatenate([getattr(table, name) for table in parts])
            for name in ("logits", "labels", "study_ids", "patient_ids", "n_views")
        }
        own_parts = [[names.index(table.body_part_names[i]) for i in table.body_parts] for table in parts]
        difficulties = [table.difficulty for table in parts if table.difficulty is not None]
        return Predictions(
            **columns,
            body_parts=np.concatenate(own_parts),
            model_names=parts[0].model_names,
            class_names=parts[0].class_names,
            body_part_names=names,
            difficulty=np.concatenate(difficulties) if len(difficulties) == len(parts) else None,
        )

    def require_disjoint_patients(self, other: Predictions) -> None:
        """Make sure that no patient is in both tables, for example in training and test.

        Raises:
            ValueError: Names a patient who is in both.
        """
        common = np.intersect1d(self.patient_ids, other.patient_ids)
        if common.size:
            raise UserError(
                f"expected tables without a common patient, got {common.size} in both (for example "
                f"{str(common[0])!r}): split by patient, as Predictions.split does"
            )

    def __len__(self) -> int:
        return int(self.logits.shape[0])

    def __repr__(self) -> str:
        counts = np.bincount(self.labels, minlength=self.n_classes)
        classes = ", ".join(f"{n} {name}" for n, name in zip(counts, self.class_names, strict=True))
        return (
            f"Predictions({len(self)} studies ({classes}) of {np.unique(self.patient_ids).size} patients, "
            f"{self.n_models} models ({_listed(self.model_names)}), "
            f"{len(self.body_part_names)} body parts ({_listed(self.body_part_names)}))"
        )

    def __copy__(self) -> Predictions:
        return self  # immutable: where gymnasium copies a specification, the table is shared

    def __deepcopy__(self, memo: dict[int, Any]) -> Predictions:
        return self


_FIELD_NAMES = tuple(field.name for field in fields(Predictions))


def _rows(column: Any, rows: NDArray[np.int64]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else column


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else ", ".join((*names[:7], f"… {len(names) - 7} more"))
