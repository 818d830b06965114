import sys

import numpy as np
import pytest

from agents.consultation.heads import answers_of, fit_network, fit_pool
from agents.consultation.optimum import optimum_values


@pytest.fixture(scope="module")
def script(benchmark_script):
    return benchmark_script("consultation")


def test_a_network_head_learns_what_one_member_says_of_another(script, monkeypatch):
    """The scout's confidence tells which specialists count; no pool can use it."""
    monkeypatch.setattr("agents.consultation.heads._UPDATES", 1500)
    train, test = script.scout_table(4000, 0), script.scout_table(4000, 1, "t")
    losses = []
    for head in (fit_pool(train), fit_network(train, 0)):
        answers = answers_of(head, test)[-1]
        losses.append(-np.log(answers[test.labels, np.arange(len(test))]).mean())
    assert losses[1] < losses[0] - 0.01


def test_the_scout_says_nothing_of_the_class_and_knowing_it_pays(script):
    table = script.scout_table(20_000, 0)
    right = (table.logits.argmax(axis=2) == table.labels[:, None]).mean(axis=0)
    assert abs(right[0] - 0.5) < 0.02
    assert (right[1:] > 0.6).all()


def test_the_distribution_is_that_of_the_tables_and_knowing_the_mode_pays(script):
    distribution, shares = script.scout_distribution()
    assert shares.sum() / 12 == pytest.approx(1)
    table = script.scout_table(20_000, 0)
    expected = shares / shares.sum() @ (distribution.logits.argmax(axis=2) == distribution.labels[:, None])
    right = (table.logits.argmax(axis=2) == table.labels[:, None]).mean(axis=0)
    np.testing.assert_allclose(right[1:], expected[1:], atol=0.015)
    with_scout = optimum_values(distribution, [0.1], shares)[0]
    silent = distribution.logits.copy()
    silent[:, 0] = 0
    without = type(table).from_arrays(
        silent, distribution.labels, distribution.body_parts, costs=distribution.costs
    )
    assert with_scout > optimum_values(without, [0.1], shares)[0] + 0.01


def test_the_script_goes_on_where_it_was_stopped(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "TEST_STUDIES", 200)
    out = tmp_path / "noise.json"
    command = ["--table", "noise", "--studies", "200", "--head", "pool", "--out", str(out)]
    for agents in (["full_ensemble"], ["full_ensemble", "cascade"]):
        monkeypatch.setattr(sys, "argv", ["consultation.py", *command, "--seeds", "1", "--agents", *agents])
        script.main()
    printed = capsys.readouterr().out
    assert printed.count("full_ensemble, seed 0") == 1
    assert printed.count("cascade, seed 0") == 1
