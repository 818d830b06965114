"""Better options of an agent, searched with Optuna on inner folds of one table by patient.

Akiba et al., *Optuna: A next-generation hyperparameter optimization framework*, KDD 2019: a tree-structured
Parzen estimator proposes options, and what is behind the median of the earlier trials ends early.
"""

import dataclasses
import hashlib
import importlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.agent import Agent
from agents.config import checked_seed, require_table
from agents.parallel import whole_trainings
from agents.registry import class_of, make_agent, named_rewards
from agents.storage import fingerprint
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.utils.options import Range
from mura_env.utils.progress import Progress
from mura_env.weighting_task import WeightingTask

JOURNAL = "trials.log"
"""File of all trials, one JSON line an event, which a search that goes on reads."""


@dataclass(frozen=True)
class Span:
    """An interval that numbers are taken from."""

    low: float
    high: float
    log: bool = False
    """Whether on a scale of logarithms."""


Choices = Span | tuple[str | int | float | bool, ...]
"""What the values of an option are taken from."""

SPACE: Mapping[str, Choices] = {
    "learning_rate": Span(1e-3, 0.3, log=True),
    "hidden_size": (8, 16, 32, 64),
    "exploration": Span(0.3, 3.0, log=True),
    "reference": ("uniform", "static", "chosen"),
    "entropy_coefficient": Span(1e-4, 0.1, log=True),
    "clip_range": Span(0.05, 0.5, log=True),
    "n_epochs": (1, 2, 4, 8),
    "l2": Span(1e-3, 1e3, log=True),
    "n_neighbours": (10, 25, 50, 100),
    "prior_studies": Span(5.0, 500.0, log=True),
}
"""What is searched unless something else is asked for: those of these options that the agent has."""


def parse_space(words: Sequence[str]) -> dict[str, Choices]:
    """Read what to search, from words such as `learning_rate=0.001..0.1` and `hidden_size=16,32,64`.

    An interval from above 0 to at least ten times as much is searched on a scale of logarithms.
    """
    space: dict[str, Choices] = {}
    for word in words:
        match = re.fullmatch(r"(\w+)=(.+)", word)
        if match is None:
            raise UserError(f"expected OPTION=LOW..HIGH or OPTION=ONE,OTHER, got {word!r}")
        name, text = match.groups()
        if ends := re.fullmatch(r"(-?[\d.]+(?:e-?\d+)?)\.\.(-?[\d.]+(?:e-?\d+)?)", text):
            low, high = map(_number, ends.groups())
            if not low < high:
                raise UserError(f"expected a lower end below the upper one, got {word!r}")
            space[name] = Span(low, high, log=low > 0 and high >= 10 * low)
        else:
            space[name] = tuple(_value(part) for part in text.split(","))
    return space


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"expected a finite number as the end of an interval, got {text!r}")
    return value


def _value(text: str) -> str | int | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def tune_agent(
    name: str,
    train: Predictions,
    *,
    n_trials: int = 30,
    space: Mapping[str, Choices] | None = None,
    options: Mapping[str, Any] | None = None,
    n_folds: int = 3,
    seed: int = 0,
    directory: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search options of an agent: each trial fits it once for every inner fold, and scores it on that fold.

    The first trial is the agent as it is. A search in a directory goes on with what is there: `n_trials` is
    their number together. The best score was chosen among many and is too good; a fair one is that of
    `run_benchmark` on a test table.

    Args:
        name: The agent.
        train: The table; no other is read.
        n_trials: Trials, those that ended early among them.
        space: What each option's values are taken from; what of `SPACE` the agent has if None.
        options: Other options of all trials.
        n_folds: Inner folds by patient.
        seed: Seed of folds, fits and proposals.
        directory: Where trials are kept, in `JOURNAL`; nowhere if None.
        progress: Called with a description, the trials completed and their number.

    Returns:
        A document, JSON-ready: `best` and `as_it_is` with `options` and `score`; `score`, what that is; the
        numbers of trials.

    Raises:
        UserError: If optuna is not installed, the agent has no such option, a value is out of its range, or
            the directory holds another search.
    """
    optuna = _optuna()
    require_table(train)
    Range("[1, 100000]").check("n_trials", n_trials, int)
    Range("[2, 100]").check("n_folds", n_folds, int)
    given = named_rewards(options or {})
    search = _Search(name, train, given, space, n_folds=n_folds, seed=checked_seed(seed))
    study = _open_study(optuna, search, None if directory is None else Path(directory), n_trials)
    if progress is not None:
        progress(f"tuning {name}", _n_ended(study), n_trials)
    while _n_ended(study) < n_trials:
        study.optimize(search.score, n_trials=1, catch=())
        if progress is not None:
            progress(f"tuning {name}", _n_ended(study), n_trials)
    return search.document(optuna, study)


class _Search:
    """What is searched: from a trial's proposals to its score."""

    def __init__(
        self,
        name: str,
        train: Predictions,
        options: dict[str, Any],
        space: Mapping[str, Choices] | None,
        *,
        n_folds: int,
        seed: int,
    ) -> None:
        self.name, self.train, self.seed, self.options = name, train, seed, options
        self._folds = train.folds(n_folds, seed=seed)
        config: Any = make_agent(name, **options).config
        known = {option.name for option in dataclasses.fields(class_of(name, options).config_class)}
        if space is None:
            space = {option: values for option, values in SPACE.items() if option in known - options.keys()}
        if not space:
            raise UserError(
                f"expected options of {name!r} to search, got none that are searched unasked; name some "
                f"(OPTION=LOW..HIGH): it has {', '.join(sorted(known)) or 'no options'}"
            )
        self.space: dict[str, Choices] = {}
        self.as_it_is: dict[str, Any] = {}
        for option, values in space.items():
            ends = (values.low, values.high) if isinstance(values, Span) else values
            for value in ends:  # refuses an option that it does not have, and a value out of its range
                make_agent(name, **{**options, option: self._typed(config, option, value)})
            default = getattr(config, option)
            self.space[option] = values
            if isinstance(values, Span):
                if values.low <= default <= values.high:
                    self.as_it_is[option] = default
            elif isinstance(default, str | int | float | bool):
                self.space[option] = tuple(dict.fromkeys((default, *values)))
                self.as_it_is[option] = default
        self._config = config
        self.reward = getattr(config, "reward", "correctness")

    @property
    def digest(self) -> str:
        """A name of everything that a score depends on."""
        parts = {
            "options": self.options,
            "space": {name: str(values) for name, values in self.space.items()},
            "table": fingerprint(self.train),
            "folds": int(self._folds.max()),
            "seed": self.seed,
        }
        text = json.dumps(parts, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def score(self, trial: Any) -> float:
        """Return the mean over folds of what the agent earns on a fold that it has not learned from."""
        optuna = _optuna()
        proposed = {name: self._proposal(trial, name) for name in self.space}
        scores: list[float] = []
        step = 0

        def watch(row: Mapping[str, float]) -> None:
            nonlocal step
            trial.report(row["deterministic_reward"], step)
            step += 1
            if trial.should_prune():
                raise optuna.TrialPruned

        for fold in np.unique(self._folds):
            rows = self._folds == fold
            agent = make_agent(self.name, **self.options, **proposed)
            with whole_trainings():
                agent.fit(self.train.select(np.flatnonzero(~rows)), seed=self.seed, callback=watch)
            scores.append(self._earned(agent, self.train.select(np.flatnonzero(rows))))
        return float(np.mean(scores))

    def document(self, optuna: Any, study: Any) -> dict[str, Any]:
        """Return what came of it."""
        states = [trial.state.name for trial in study.trials]
        complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if not complete:
            raise UserError("expected a trial that ran to its end, got none; allow more --trials")
        best = max(complete, key=lambda trial: (trial.value, -trial.number))
        first = next((trial for trial in complete if trial.params == self.as_it_is), None)
        score = "accuracy" if self.reward == "correctness" else f"mean reward ({self.reward})"
        return {
            "agent": self.name,
            "score": f"{score} on {int(self._folds.max()) + 1} inner folds by patient",
            "best": {"options": self._of_trial(best), "score": best.value},
            "as_it_is": None if first is None else {"options": self.as_it_is, "score": first.value},
            "other_options": self.options,
            "trials": len(complete) + states.count("PRUNED"),
            "ended_early": states.count("PRUNED"),
            "seed": self.seed,
        }

    def _of_trial(self, trial: Any) -> dict[str, Any]:
        return {name: self._typed(self._config, name, value) for name, value in trial.params.items()}

    def _proposal(self, trial: Any, name: str) -> Any:
        values = self.space[name]
        if not isinstance(values, Span):
            return trial.suggest_categorical(name, values)
        if isinstance(getattr(self._config, name), int):
            return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
        return trial.suggest_float(name, values.low, values.high, log=values.log)

    @staticmethod
    def _typed(config: Any, name: str, value: Any) -> Any:
        """Return a number as the option has it: a whole one where the option's is."""
        whole = isinstance(getattr(config, name, None), int) and isinstance(value, float)
        is_float = isinstance(getattr(config, name, None), float) and isinstance(value, int)
        return int(value) if whole else float(value) if is_float else value

    def _earned(self, agent: Agent[Any], held_out: Predictions) -> float:
        if self.reward == "correctness":
            return float((agent.predict_proba(held_out).argmax(axis=1) == held_out.labels).mean())
        task = WeightingTask(held_out, reward=self.reward)
        weights = np.ascontiguousarray(agent.weights(held_out).T)
        return float(task.rewards(task.decide(weights, np.arange(len(held_out)))).mean(dtype=np.float64))


def _open_study(optuna: Any, search: _Search, directory: Path | None, n_trials: int) -> Any:
    storage = None
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        journal = optuna.storages.journal
        storage = optuna.storages.JournalStorage(journal.JournalFileBackend(str(directory / JOURNAL)))
        others = {study.study_name for study in storage.get_all_studies()} - {search.digest}
        if others:
            raise UserError(
                f"expected the search of {search.name!r} with the same table, options, folds and seed in "
                f"{directory}, got another one; choose another folder"
            )
    done = 0
    if storage is not None and storage.get_all_studies():
        done = storage.get_n_trials(storage.get_all_studies()[0]._study_id)
    study = optuna.create_study(
        storage=storage,
        study_name=search.digest,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=(search.seed + done) % 2**32, n_startup_trials=8),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)  # of a process that was ended
    if search.as_it_is.keys() == search.space.keys() and not _n_ended(study):
        study.enqueue_trial(search.as_it_is, skip_if_exists=True)
    return study


def _n_ended(study: Any) -> int:
    return sum(trial.state.name in {"COMPLETE", "PRUNED"} for trial in study.get_trials(deepcopy=False))


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise UserError(
            "expected the package optuna for the search, got none installed; install the extra: "
            "pip install 'mura-rl-ensemble[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
