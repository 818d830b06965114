import json

import numpy as np
import pytest

from agents import list_agents


@pytest.fixture(scope="module")
def script(benchmark_script):
    return benchmark_script("features_pay")


def test_the_known_gain_is_that_of_weights_per_mode(script):
    table, modes = script.mode_table(3_000, 0, "")
    constant, best = script.known_accuracies(table, modes)
    experts = table.probabilities[np.arange(len(table)), modes].argmax(axis=1) == table.labels
    uniform = table.probabilities.mean(axis=1).argmax(axis=1) == table.labels
    assert uniform.mean() <= constant + 0.01 < constant + 0.1 < experts.mean() <= best
    assert best - script.KNOWS < 0.02
    told = np.clip(np.rint((table.features[:, 1] - 1e4) / 100), 0, 2)
    assert (told == modes).mean() > 0.99
    for column in (0, 2, 3):
        assert abs(np.corrcoef(table.features[:, column], modes)[0, 1]) < 0.06


def test_it_goes_on_where_it_was_stopped_and_sums_up(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "N_TRAIN", 300)
    out, names = tmp_path / "results.json", ["stacking", "knora_u"]
    assert {"reinforce", "rlensemble_v1", *names} <= {*script.reading_agents()} < {*list_agents()}
    first = script.run(["mode", "noise"], names[:1], 1, 400, out)
    seconds = first["fits"]["mode/stacking/0"]["seconds"]
    document = script.run(["mode", "noise"], names, 1, 400, out)
    assert document == json.loads(out.read_text())
    assert document["fits"]["mode/stacking/0"]["seconds"] == seconds
    constant, best = document["known"]["0"]
    share = (document["fits"]["mode/stacking/0"]["accuracy"] - constant) / (best - constant)
    assert document["summary"]["mode"]["stacking"]["mean"] == pytest.approx(100 * share)
    row = document["summary"]["noise"]["knora_u"]
    assert row["seeds"] == 1
    assert (row["mean"] == 0) == (row["reads"] == 0)
