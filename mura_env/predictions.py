"""The predictions table: what the base models predict for every study, and the labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mura_env.array_checks import row_indices
from mura_env.concatenation import concatenated_columns
from mura_env.errors import UserError
from mura_env.patient_split import stratified_group_folds
from mura_env.predictions_csv import read_csv, write_csv
from mura_env.predictions_npz import read_npz, write_npz
from mura_env.probabilities import logits_from_probabilities
from mura_env.table_checks import (
    FeatureChoice,
    OtherColumns,
    checked_columns,
    chosen_features,
    filled_columns,
)
from mura_env.table_columns import Columns
from mura_env.utils.options import SHARE, Range


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
    """int64 ``(n_studies,)``, the true class, 0 ≤ label < n_classes; -1 throughout a table without labels."""
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
    """One name per class, at least two, ordered as in `mura_env.class_order`: of two the last is positive."""
    body_part_names: tuple[str, ...]
    """One name per body part; a part may have no study."""
    difficulty: NDArray[np.float32] | None = None
    """Optional float32 ``(n_studies,)`` in [0, 1]: how hard readers found the study (0 easy, 1 hardest)."""
    features: NDArray[np.float32] | None = None
    """Optional float32 ``(n_studies, n_features)``, any finite numbers: what else is known of the study."""
    feature_names: tuple[str, ...] = ()
    """One name per feature; none without features."""
    costs: NDArray[np.float32] | None = None
    """Optional float32 ``(n_models,)``, at least 0: what a view costs with each model, in any unit."""
    group_name: str = "body part"
    """What ``body_parts`` are, in the singular: another grouping, such as ``hospital``, may be there."""
    subgroups: NDArray[np.str_] | None = None
    """Optional str ``(n_studies, n_subgroup_names)``: in which group each study is by each of these names."""
    subgroup_names: tuple[str, ...] = ()
    """By what else studies are grouped in a report, such as ``sex``; no agent reads it."""

    def __post_init__(self) -> None:
        for name, value in checked_columns({name: getattr(self, name) for name in _FIELD_NAMES}).items():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
            object.__setattr__(self, name, value)

    @classmethod
    def from_arrays(
        cls,
        logits: ArrayLike,
        labels: ArrayLike | None,
        body_parts: ArrayLike | None = None,
        **columns: Unpack[OtherColumns],
    ) -> Predictions:
        """Build a table from arrays; whatever is left out gets a sensible default.

        Args:
            logits: Real numbers ``(n_studies, n_models, n_classes)``.
            labels: The true classes ``(n_studies,)``, names or positions; None where they are not known.
            body_parts: Indices into ``body_part_names``, or names, ``(n_studies,)``; one part ``all`` by
            default.
            **columns: Those of `mura_env.table_checks.OtherColumns`, which describes each.

        Raises:
            ValueError: If a shape, type, range or name is wrong.
        """
        return cls(**filled_columns(logits, labels, body_parts, **columns))

    @classmethod
    def from_probabilities(
        cls, probabilities: ArrayLike, labels: ArrayLike, *args: Any, **columns: Any
    ) -> Predictions:
        """Build a table from class probabilities instead of logits; all else as in `from_arrays`.

        Args:
            probabilities: Array ``(n_studies, n_models, n_classes)`` in [0, 1], rows summing to one; those of
            two decimals are divided by their sum, with a warning.
            labels: The true classes, as in `from_arrays`.
            *args: ``body_parts``, as in `from_arrays`.
            **columns: The other columns, as in `from_arrays`.

        Raises:
            ValueError: If a probability lies outside [0, 1], a row does not sum to one, or a column is wrong.
        """
        return cls.from_arrays(logits_from_probabilities(probabilities), labels, *args, **columns)

    @classmethod
    def from_csv(
        cls,
        path: str | PathLike[str],
        positive: str | None = None,
        *,
        body_part_names: Sequence[str] | None = None,
        columns: Columns | None = None,
        with_labels: bool = True,
    ) -> Predictions:
        """Read the long form, one row per study and model, in any order of rows and columns.

        Columns: ``study_id``, ``label`` (a class's name, or an index where the columns stand in the classes'
        order), ``model``; if wanted ``patient_id``, ``body_part``, ``n_views``, ``difficulty``, ``cost`` (of
        the model); then ``logit_<class>`` or ``probability_<class>`` of every class; ``feature_<name>``; and
        ``subgroup_<name>``. ``group_<name>`` in place of ``body_part`` says by what studies are grouped.
        Studies and models keep the order of the file; classes are put in that of `mura_env.class_order`, the
        positive one of two last; body parts are sorted, so that tables of the same parts agree.

        Args:
            path: The file, UTF-8; without commas between values (`;` or tabs), numbers may have decimal ones.
            positive: The positive one of two classes, where their names do not tell.
            body_part_names: The body parts in a given order, for example those of a training table.
            columns: Other names of the columns, or wide form, one row per study; see `mura_env.Columns`.
            with_labels: Read the labels; a table to predict from need not have any.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If a column is unknown or missing, a cell cannot be read, probabilities do not sum to
                one, rows contradict each other, a study lacks a model or has one twice, there is no row, or
                the names leave open which class is positive.
        """
        fields_of_table = read_csv(path, positive, columns, with_labels=with_labels)
        try:
            return cls.from_arrays(**fields_of_table, body_part_names=body_part_names)
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
    def has_labels(self) -> bool:
        """Whether the true classes are known."""
        return bool(self.labels[0] >= 0)

    def require_labels(self) -> None:
        """Refuse a table without labels, before anything is learned from it or measured on it."""
        if not self.has_labels:
            raise UserError("expected a table with labels, got one without; add the studies' true classes")

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Class probabilities of every model, the softmax of the logits: a new array of the logits' shape."""
        shifted: NDArray[np.float32] = self.logits - self.logits.max(axis=-1, keepdims=True)
        np.exp(shifted, out=shifted)
        shifted /= shifted.sum(axis=-1, keepdims=True)
        return shifted

    def select(self, index: ArrayLike | slice) -> Predictions:
        """Return a table of some of the studies, in the order given.

        Args:
            index: Row indices, a boolean mask ``(n_studies,)``, or a slice. The names stay as they are.

        Raises:
            ValueError: If nothing is selected, a study is selected twice, or an index is out of range.
        """
        rows = row_indices(index, len(self))
        return Predictions(**{name: _rows(name, getattr(self, name), rows) for name in _FIELD_NAMES})

    def with_features(self, features: FeatureChoice) -> Predictions:
        """Return the table with some of its features.

        Args:
            features: ``all``, ``none``, or the names of those that stay, in this order.

        Raises:
            ValueError: If the table has no feature of such a name, or one is named twice.
        """
        names = chosen_features(features, self.feature_names)
        if names == self.feature_names:
            return self
        columns = [self.feature_names.index(name) for name in names]
        values = self.features[:, columns] if self.features is not None and columns else None
        return replace(self, features=values, feature_names=names)

    def folds(self, n_folds: int, seed: int, shares: Sequence[float] | None = None) -> NDArray[np.int64]:
        """Divide the studies into folds by patient, stratified by body part and label.

        Args:
            n_folds: Number of folds, at least 2.
            seed: Draws the order in which patients are placed, of 32 bits.
            shares: Share of the studies in each fold; equal by default.

        Returns:
            Fold of each study, int64 ``(n_studies,)``, from 0; see `mura_env.patient_split`.

        Raises:
            ValueError: If there are fewer patients than folds, or the seed is out of range.
        """
        self.require_labels()
        Range("[0, 4294967295]").check("seed", seed, int)
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
        SHARE.check("fraction", fraction)
        first = self.folds(2, seed, (fraction, 1 - fraction)) == 0
        return self.select(first), self.select(~first)

    @staticmethod
    def concatenate(tables: Iterable[Predictions]) -> Predictions:
        """Put tables of the same models and classes below one another.

        Body parts and features are matched by name; difficulty is kept only where every table has it, costs
        are those of the tables that have some.

        Raises:
            ValueError: If there is no table, models, classes or features differ, or a study id occurs twice.
        """
        return Predictions(**concatenated_columns(tuple(tables)))

    def require_disjoint_patients(self, other: Predictions) -> None:
        """Refuse another table with a patient of this one, such as a test table of a training table."""
        common = np.intersect1d(self.patient_ids, other.patient_ids)
        if common.size:
            raise UserError(
                f"expected tables without a common patient, got {common.size} in both (for example "
                f"{str(common[0])!r}): split by patient, as Predictions.split does"
            )

    def __len__(self) -> int:
        return int(self.logits.shape[0])

    def __repr__(self) -> str:
        counts = (self.labels[:, None] == np.arange(self.n_classes)).sum(axis=0)  # zeros without labels
        classes = ", ".join(f"{n} {name}" for n, name in zip(counts, self.class_names, strict=True))
        return (
            f"Predictions({len(self)} studies ({classes}) of {np.unique(self.patient_ids).size} patients, "
            f"{self.n_models} models ({_listed(self.model_names)}), "
            f"{len(self.body_part_names)} {self.group_name}s ({_listed(self.body_part_names)})"
            + (f", features {_listed(self.feature_names)})" if self.feature_names else ")")
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():  # numpy restores arrays as writable ones
            if isinstance(value, np.ndarray):
                value.flags.writeable = False
        self.__dict__.update(state)

    def __copy__(self) -> Predictions:
        return self  # immutable: where gymnasium copies a specification, the table is shared

    def __deepcopy__(self, memo: dict[int, Any]) -> Predictions:
        return self


_FIELD_NAMES = tuple(field.name for field in fields(Predictions))


def _rows(name: str, column: Any, rows: NDArray[np.int64]) -> Any:
    return column[rows] if isinstance(column, np.ndarray) and name != "costs" else column


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 8 else ", ".join((*names[:7], f"… {len(names) - 7} more"))
