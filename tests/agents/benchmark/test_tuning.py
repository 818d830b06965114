"""The search of options on inner folds."""

import json

import numpy as np
import pytest

from agents import make_agent
from agents.benchmark.tuning import JOURNAL, Span, parse_space, tune_agent
from mura_env.errors import UserError
from tests.agents.tables import switching_table

optuna = pytest.importorskip("optuna", reason="optuna is not installed: the extra `tune` brings it")

TABLE = switching_table(150, 0)


def test_the_score_is_that_of_a_plain_loop_over_folds():
    document = tune_agent("stacking", TABLE, n_trials=2, space={"l2": (0.01, 100.0)}, seed=3)
    folds = TABLE.folds(3, seed=3)
    scores = []
    for fold in range(3):
        rest, own = (TABLE.select(np.flatnonzero(rows)) for rows in (folds != fold, folds == fold))
        agent = make_agent("stacking", **document["best"]["options"]).fit(rest, seed=3)
        scores.append((agent.predict_proba(own).argmax(axis=1) == own.labels).mean())
    assert document["best"]["score"] == pytest.approx(np.mean(scores))
    assert document["as_it_is"]["options"] == {"l2": 1.0}
    assert document["best"]["score"] >= document["as_it_is"]["score"]
    json.dumps(document, allow_nan=False)


def test_a_search_goes_on_where_it_was(tmp_path, monkeypatch):
    fitted = []
    plain_fit = type(make_agent("stacking")).fit

    def counted(self, *arguments, **keywords):
        fitted.append(self.config.l2)
        return plain_fit(self, *arguments, **keywords)

    monkeypatch.setattr(type(make_agent("stacking")), "fit", counted)
    tune_agent("stacking", TABLE, n_trials=2, n_folds=2, directory=tmp_path)
    assert len(fitted) == 4
    document = tune_agent("stacking", TABLE, n_trials=3, n_folds=2, directory=tmp_path)
    assert (len(fitted), document["trials"]) == (6, 3)
    assert fitted[0] == 1.0  # the first is the agent as it is
    assert len(set(fitted)) == 3
    with pytest.raises(UserError, match="got another one; choose another folder"):
        tune_agent("stacking", TABLE, n_trials=3, n_folds=3, directory=tmp_path)
    assert (tmp_path / JOURNAL).is_file()


def test_a_trial_that_falls_behind_ends_early(monkeypatch):
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda **_: optuna.pruners.ThresholdPruner(lower=2.0))
    with pytest.raises(UserError, match="expected a trial that ran to its end, got none"):
        tune_agent(
            "reinforce", TABLE, n_trials=1, n_folds=2, options={"total_steps": 256, "n_checkpoints": 2}
        )


def test_what_to_search_is_read_from_words():
    assert parse_space(["learning_rate=0.001..0.1", "n_epochs=1..5", "hidden_size=8,16", "network=mlp"]) == {
        "learning_rate": Span(0.001, 0.1, log=True),
        "n_epochs": Span(1.0, 5.0),
        "hidden_size": (8, 16),
        "network": ("mlp",),
    }
    for wrong in ("l2", "l2=5..1", "l2=..", "=3"):
        with pytest.raises(UserError):
            parse_space([wrong, "l2=1.1.1..5"])


def test_options_that_an_agent_does_not_have_are_refused_before_anything_is_fitted():
    with pytest.raises(UserError, match="expected the options"):
        tune_agent("stacking", TABLE, space={"hidden_size": (8, 16)})
    with pytest.raises(UserError, match="got none that are searched unasked"):
        tune_agent("uniform", TABLE)
