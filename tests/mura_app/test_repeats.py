import json

import numpy as np
import pytest

from mura_app.main import run_command
from mura_app.repeats import run_repeats, training_seeds, with_repeats
from mura_app.report.verdict import repeats_sentence
from mura_env import Predictions
from tests.mura_app.test_pipeline import TINY


def document(difference, accuracy):
    comparison = {"accuracy_difference": difference, "ci95": [0.0, 0.1]}
    return {
        "agents": {
            "uniform": {"accuracy": {"mean": accuracy}, "vs_uniform": {"accuracy_difference": 0.0}},
            "ppo": {"accuracy": {"mean": accuracy + difference}, "vs_uniform": comparison},
        },
        "protocol": {"notes": ["conditional on one set", "another"]},
    }


def test_differences_of_all_trainings_stand_beside_the_first():
    first, others = document(0.02, 0.8), [document(-0.01, 0.7), document(0.05, 0.75)]
    result = with_repeats(first, others, [7, 8, 9])
    comparison = result["agents"]["ppo"]["vs_uniform"]
    assert comparison["ci95"] == [0.0, 0.1]
    assert comparison["over_repeats"] == {
        "values": [0.02, -0.01, 0.05],
        "mean": pytest.approx(0.02),
        "spread": pytest.approx(0.03),
    }
    assert result["repeats"]["training_seeds"] == [7, 8, 9]
    assert result["repeats"]["uniform_accuracy"]["values"] == [0.8, 0.7, 0.75]
    assert result["protocol"]["notes"][1:] == ["another"]
    assert "first of 3 trainings" in result["protocol"]["notes"][0]
    assert "over_repeats" not in first["agents"]["ppo"]["vs_uniform"]
    assert repeats_sentence("ppo", comparison["over_repeats"]) == (
        "ppo, over 3 trainings of the base models: +2.0 points over uniform averaging, standard deviation "
        "3.0 (+2.0, -1.0, +5.0)."
    )


def test_each_repeat_has_a_seed_of_its_own():
    asked = []

    def train_and_benchmark(number, seed):
        asked.append((number, seed))
        return document(0.0, 0.5)

    assert run_repeats(document(0.0, 0.5), 4, 3, train_and_benchmark)["repeats"]["n"] == 3
    assert asked == [(2, 5), (3, 6)]
    assert training_seeds(4, 3) == [4, 5, 6]


def test_a_run_with_repeats_goes_on_where_it_was_interrupted(tree, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["run", "--data", str(tree), "--out", str(out), *TINY, "--cross-validation-seeds", "0"]
    assert run_command(arguments) == 0
    alone = json.loads((out / "benchmark.json").read_text())
    assert "repeats" not in alone
    capsys.readouterr()
    more = [*arguments, "--repeats", "2", "--resume", "--json"]
    assert run_command(more) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "benchmark.json").read_text())
    second = json.loads((out / "repeats" / "2" / "benchmark.json").read_text())
    for name, row in printed["agents"].items():
        values = [each["agents"][name]["vs_uniform"]["accuracy_difference"] for each in (alone, second)]
        assert row["vs_uniform"]["over_repeats"]["values"] == values
        assert row["accuracy"] == alone["agents"][name]["accuracy"]
    tables = [Predictions.load(folder / "predictions/test.npz") for folder in (out, out / "repeats" / "2")]
    assert (tables[0].study_ids == tables[1].study_ids).all()
    assert np.abs(tables[0].logits - tables[1].logits).max() > 0.01
    assert not (out / "repeats" / "2" / "image_cache").exists()
    for name in ("report.html", "MODEL_CARD.md"):
        assert "over 2 trainings of the base models" in (out / name).read_text()

    members = {path: path.stat().st_mtime_ns for path in out.rglob("members/*/*.safetensors")}
    lost = next((out / "repeats" / "2" / "members").rglob("*.safetensors"))
    lost.unlink()
    (out / "repeats" / "2" / "benchmark.json").unlink()
    assert run_command(more) == 0
    assert json.loads(capsys.readouterr().out) == printed
    assert {path for path, time in members.items() if path.stat().st_mtime_ns != time} == {lost}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--repeats", "0"], "expected --repeats to be at least 1, got 0"),
        (["--cross-validation-seeds", "-1"], "expected --cross-validation-seeds to be at least 0, got -1"),
        (["--agent-seeds", "0"], "expected --agent-seeds to be at least 1, got 0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_the_long_work(tree, tmp_path, capsys, options, words):
    out = tmp_path / "run"
    assert run_command(["run", "--data", str(tree), "--out", str(out), *TINY, *options]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()
