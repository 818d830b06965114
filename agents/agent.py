"""What an agent is: an estimator that turns a predictions table into weights of the ensemble's members."""

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.config import (
    asked_features,
    checked_seed,
    make_config,
    plain_values,
    require_table,
    standardised_features,
)
from agents.monitor import Callback, write_fitted
from agents.storage import FITTED_FIELDS, SavedAgent, fingerprint, write_agent
from mura_env import Predictions, Standardization
from mura_env.cells import listed
from mura_env.combination import combine
from mura_env.errors import UserError
from mura_env.utils.progress import Progress

ConfigType = TypeVar("ConfigType")

UNSEEN_PARTS = "the body parts .* were not in the training table of the"
"""Beginning of the warning of an agent that weights a body part which it has not learned from."""


class Agent(ABC, Generic[ConfigType]):
    """Base class of all agents: the checks, and saving and loading, around two methods of a subclass.

    A subclass sets `config_class` and writes `_fit`, which fills `arrays_`, and `_weights`, which reads it.
    What is in `arrays_` is all that is saved beside the configuration and the names. Registering it with
    `agents.register_agent` makes it available by name.

    Args:
        config: Options; the defaults of `config_class` if None.

    Attributes:
        name: Name in the registry; of one that `make_agent` has made, the name that it was asked for by.
        config_class: The frozen dataclass that holds the options.
        uses_seed: Whether two seeds can give two results; if not, a benchmark fits the agent once.
        learns_by_reinforcement: Whether the agent learns from an environment's rewards.
        learns_from_table: Whether `fit` learns from the table. If not, cross-validation would tell nothing.
        is_bound: Whether the agent reads the labels of the table it weights: a bound, never ranked.
        is_weighting: Whether `predict_proba` is the members' average with `weights`; if not, see the class.
        arrays_: Fitted arrays by name.
        model_names_: Names of the ensemble's members, in the order of the weights.
        class_names_: Names of the classes.
        body_part_names_: Names of the body parts in the training table.
        feature_names_: Names of the features that the agent reads, standardised as in the training table.
        observation_names_: Names of the observation's columns that the agent reads; empty if it reads none.
        total_steps_: Environment steps learned from; 0 for agents that do not learn by reinforcement.
        learning_curve_: One row per evaluation: steps, expected reward of the exploring policy and accuracy
            of the deterministic one.
        seed_: The seed of the fit.
        seconds_: Wall-clock seconds of the fit.
        fingerprint_: Digest of the tables learned from.
    """

    name: str = ""
    config_class: ClassVar[type[Any]]
    uses_seed: ClassVar[bool] = True
    learns_by_reinforcement: ClassVar[bool] = False
    learns_from_table: ClassVar[bool] = True
    is_bound: ClassVar[bool] = False
    is_weighting: ClassVar[bool] = True

    def __init__(self, config: ConfigType | None = None) -> None:
        self.config: ConfigType = self.config_class() if config is None else config
        self._fitted = False

    def __repr__(self) -> str:
        """Return name, options, and whether it is fitted."""
        options = ", ".join(f"{name}={value!r}" for name, value in plain_values(self.config).items())
        state = f"fitted with seed {self.seed_}" if self._fitted else "not fitted"
        return f"<agent {self.name!r} ({state}): {options or 'no options'}>"

    def fit(
        self,
        train: Predictions,
        validation: Predictions | None = None,
        seed: int = 0,
        progress: Progress | None = None,
        callback: Callback | None = None,
    ) -> Self:
        """Learn to weight the members.

        Args:
            train: Studies to learn from, with out-of-fold predictions. A body part that is named but has none
                counts as never seen.
            validation: Studies of other patients to choose settings on; agents that need some take them from
                `train` if None.
            seed: Seed of every random choice; the same seed gives the same weights to the bit.
            progress: Called with a description, the part completed and the total.
            callback: Called at the end of each epoch with its row of the learning curve. An epoch ends where
                policies are scored: `n_checkpoints` times, when all are trained if one is at a time.

        Raises:
            ValueError: If the training table is empty or has one class only, the two tables are not of the
                same ensemble or share a patient, validation has studies of a body part never trained on, a
                feature asked for is missing, or the seed is negative or larger than a thousand million.
        """
        started = time.perf_counter()
        train, validation = self._prepare(train, validation, seed)
        statistics = Standardization.of_features(train)
        read, scored = (
            None if table is None else standardised_features(table, statistics)
            for table in (train, validation)
        )
        assert read is not None  # noqa: S101 - mypy does not see that train is a table
        self._fit(read, scored, self.seed_, progress, callback)
        if self.feature_names_:
            self.arrays_ |= {f"feature_{name}": np.array(getattr(statistics, name)) for name in _STATISTICS}
        self.seconds_, self._fitted = time.perf_counter() - started, True
        if not self.learning_curve_:
            write_fitted(self, train, validation)
        return self

    def _prepare(
        self, train: Predictions, validation: Predictions | None, seed: int
    ) -> tuple[Predictions, Predictions | None]:
        """Check the tables, forget an earlier fit, and return them with what is learned from.

        These are the body parts of the training table, and the features that the configuration asks for.
        """
        _check_training_table(train)
        if validation is not None:
            require_table(validation)
            validation.require_labels()
            train.require_disjoint_patients(validation)
        self.fingerprint_ = fingerprint(train, validation)
        names = [train.body_part_names[part] for part in np.unique(train.body_parts)]
        train = asked_features(self.config, _with_body_parts(train, names))
        self.model_names_: tuple[str, ...] = tuple(train.model_names)
        self.class_names_: tuple[str, ...] = tuple(train.class_names)
        self.body_part_names_: tuple[str, ...] = tuple(train.body_part_names)
        self.feature_names_: tuple[str, ...] = train.feature_names
        self.observation_names_: tuple[str, ...] = ()
        self.arrays_: dict[str, NDArray[Any]] = {}
        self.total_steps_ = 0
        self.learning_curve_: list[dict[str, float]] = []
        self.seed_ = checked_seed(seed)
        if validation is not None:
            self._check_table(validation)
            validation = _with_body_parts(validation, self.body_part_names_)
        return train, validation

    def weights(self, table: Predictions) -> NDArray[np.float32]:
        """Weight the members study by study.

        Args:
            table: Studies with predictions of the same members in the same order. A body part that the
                training table did not have gets the weights that are not particular to any, with a warning.

        Returns:
            Shape `(n_studies, n_models)`, each row non-negative with sum 1.

        Raises:
            ValueError: If the agent is not fitted or the table is of another ensemble.
        """
        weights = np.asarray(self._weights(*self._read(table)), dtype=np.float64)
        if not np.isfinite(weights).all():
            raise UserError(
                f"expected finite weights from the agent {self.name!r}, got NaN or infinity: its training "
                "has diverged; lower its learning rate"
            )
        totals = weights.sum(axis=-1, keepdims=True)
        shape = len(table), len(self.model_names_)
        if weights.shape != shape or not ((weights >= 0).all() and (totals > 0).all()):
            raise ValueError(
                f"expected non-negative weights of shape {shape} from the agent {self.name!r}, in each row a "
                f"positive sum, got shape {weights.shape}, least value {weights.min(initial=np.inf)}"
            )
        return np.asarray(weights / totals, dtype=np.float32)

    def predict_proba(self, table: Predictions) -> NDArray[np.float32]:
        """Return the weighted class probabilities, `(n_studies, n_classes)`; see `weights` for the rest."""
        weights = self.weights(table)  # checks the table
        return combine_probabilities(table.probabilities, weights)

    def gives_reference(self, table: Predictions, weights: NDArray[np.float32]) -> bool:
        """Tell whether weights of a table are those of the reference that the agent is a residual on.

        It then fell back to them, because nothing that it learned was shown to be better.
        """
        reference = self.arrays_.get("reference")
        return reference is not None and np.allclose(weights, reference[self._read(table)[1]], atol=1e-3)

    def save(self, directory: str | Path) -> None:
        """Write `agent.json` and `agent.safetensors` to a folder, which `load_agent` reads.

        Raises:
            ValueError: If the agent is not fitted.
        """
        if not self._fitted:
            raise ValueError(f"expected a fitted agent, got {self.name!r} before fit; call fit first")
        document = {
            "agent": type(self).name,
            "config": plain_values(self.config),
            **{field: getattr(self, f"{field}_") for field in FITTED_FIELDS},
        }
        write_agent(Path(directory), document, self.arrays_)

    @classmethod
    def from_saved(cls, saved: SavedAgent, arrays: dict[str, NDArray[Any]]) -> Self:
        """Restore a fitted agent from what `agents.storage.read_agent` returned.

        Raises:
            ValueError: If an option is unknown or out of its range, or the arrays do not fit the agent.
        """
        agent = cls(make_config(cls.config_class, saved.config, f"the agent {cls.name!r}"))
        for field in FITTED_FIELDS:
            value = getattr(saved, field)
            setattr(agent, f"{field}_", tuple(value) if field.endswith("_names") else value)
        agent.arrays_, agent._fitted = arrays, True
        if agent.feature_names_:
            for name in _STATISTICS:
                agent._require_shape(f"feature_{name}", (len(agent.feature_names_),))
            agent._statistics()
        agent._check_arrays()
        return agent

    @abstractmethod
    def _fit(
        self,
        train: Predictions,
        validation: Predictions | None,
        seed: int,
        progress: Progress | None,
        callback: Callback | None,
    ) -> None:
        """Learn from checked tables; fill `arrays_`, `total_steps_` and `learning_curve_`."""

    @abstractmethod
    def _weights(self, table: Predictions, body_parts: NDArray[np.int64]) -> NDArray[Any]:
        """Weight a checked table.

        Args:
            table: The studies, with the features that the agent reads, standardised.
            body_parts: Their indices into `body_part_names_`, which may be ordered otherwise than the table's
                own; `len(body_part_names_)` stands for a part that the training table did not have.

        Returns:
            Shape `(n_studies, n_models)`, non-negative; rows are divided by their sum.
        """

    def _check_arrays(self) -> None:
        """Check loaded arrays against names and configuration; raise ValueError if they do not fit.

        A subclass calls `_require_shape` for every array that it has.
        """

    def _require_shape(self, name: str, shape: tuple[int, ...], kind: str = "f") -> None:
        """Check one loaded array; `kind` is its kind of numbers, as in `numpy.dtype.kind`: f, i or b."""
        array = self.arrays_.get(name)
        if array is None or array.shape != shape or array.dtype.kind != kind:
            got = "none" if array is None else f"{array.dtype} {array.shape}"
            wanted = f"in shape {shape}, numbers of the kind {kind!r}"
            raise UserError(f"expected the array {name!r} of the agent {self.name!r} {wanted}, got {got}")

    def _check_table(self, table: Predictions) -> None:
        require_table(table)
        for what, expected, got in (
            ("models", self.model_names_, tuple(table.model_names)),
            ("classes", self.class_names_, tuple(table.class_names)),
        ):
            if expected != got:
                raise UserError(
                    f"expected a table of the {what} {', '.join(expected)} in this order, "
                    f"got {', '.join(got)}; match it by name with mura_env.matched_to, or fit an agent on "
                    "predictions of the same ensemble"
                )
        if missing := sorted({*self.feature_names_} - {*table.feature_names}):
            raise UserError(
                f"expected a table with the features {listed(self.feature_names_)}, which the agent "
                f"{self.name!r} reads, got none named {missing[0]!r}; add it, or fit an agent that does "
                "not read it"
            )

    def _statistics(self) -> Standardization:
        """Return means and standard deviations of the features that the agent reads."""
        if not self.feature_names_:
            return Standardization((), (), ())
        mean, scale = (tuple(self.arrays_[f"feature_{name}"].tolist()) for name in _STATISTICS)
        return Standardization(self.feature_names_, mean, scale)

    def _read(self, table: Predictions) -> tuple[Predictions, NDArray[np.int64]]:
        """Check a table that a fitted agent is to weight; return what `_weights` takes of it."""
        if not self._fitted:
            raise ValueError(
                f"expected a fitted agent, got {self.name!r} before fit; call fit or load_agent first"
            )
        self._check_table(table)
        own = {name: index for index, name in enumerate(self.body_part_names_)}
        index = np.array([own.get(name, len(own)) for name in table.body_part_names], dtype=np.int64)
        body_parts: NDArray[np.int64] = index[table.body_parts]
        unseen = sorted({table.body_part_names[part] for part in table.body_parts[body_parts == len(own)]})
        if unseen:
            warnings.warn(
                f"the body parts {', '.join(unseen)} were not in the training table of the agent "
                f"{self.name!r}; they get the weights that are not particular to any",
                UserWarning,
                stacklevel=3,
            )
        return standardised_features(table, self._statistics()), body_parts


_STATISTICS = ("mean", "scale")
"""Of each feature, in the training table."""


def combine_probabilities(
    probabilities: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Average class probabilities with weights.

    From `(n_studies, n_models, n_classes)` and `(n_studies, n_models)` to `(n_studies, n_classes)`.
    """
    return combine(probabilities.swapaxes(0, 1), weights.T[:, :, None])


def _check_training_table(train: Predictions) -> None:
    require_table(train)
    train.require_labels()
    if len(np.unique(train.labels)) < 2:
        only = train.class_names[int(train.labels[0])]
        raise UserError(f"expected studies of at least two classes to learn from, got {only!r} only")


def _with_body_parts(table: Predictions, names: Sequence[str]) -> Predictions:
    """Return the table with these body parts, matched by name; refuse studies of others."""
    index = {name: number for number, name in enumerate(names)}
    others = sorted({table.body_part_names[part] for part in np.unique(table.body_parts)} - index.keys())
    if others:
        raise UserError(
            f"expected studies of the body parts {', '.join(names)} to choose settings on, got "
            f"{', '.join(others)}; leave those out"
        )
    if tuple(names) == tuple(table.body_part_names):
        return table
    numbers = np.array([index.get(name, 0) for name in table.body_part_names], dtype=np.int64)
    return replace(table, body_parts=numbers[table.body_parts], body_part_names=tuple(names))
