"""Features of the tables, from a user's CSV to what the commands say of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from agents import load_agent
from mura_app.commands.agent_options import AgentOptions
from mura_app.external_validation import map_body_parts
from mura_app.main import run_command
from tests.mura_app.conftest import make_table

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = ("age", "device")


def table_of(n_studies, seed, prefix):
    """A table whose second feature says which member is right, and whose body part does not."""
    table = make_table(n_studies, seed, prefix)
    features = np.random.default_rng([seed, 1]).normal(50.0, 10.0, (n_studies, 2))
    features[:, 1] = 100 * (table.body_parts % 2)
    parts = np.zeros(n_studies, np.int64)
    return replace(table, body_parts=parts, body_part_names=("hand",), features=features, feature_names=NAMES)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    table_of(400, 0, "train").to_csv(folder / "train.csv")
    test = table_of(300, 1, "test")
    test.with_features(NAMES[::-1]).save(folder / "test.npz")
    test.with_features(("age",)).save(folder / "lacking.npz")
    return folder


def benchmark(files, out, *options, test="test.npz"):
    tables = ["--train", str(files / "train.csv"), "--test", str(files / test)]
    fixed = ["--agents", "stacking", "knora_u", "--agent-seeds", "1", "--jobs", "1"]
    return run_command(["benchmark", *tables, "--out", str(out), *fixed, *options])


def test_a_benchmark_says_which_features_its_agents_read(files, tmp_path, capsys):
    run = tmp_path / "run"
    assert benchmark(files, run, "--agent", "knora_u.features=none") == 0
    assert "features (age, device) read: stacking all (100% of its fits)\n" in capsys.readouterr().out
    document = json.loads((run / "benchmark.json").read_text())
    assert document["protocol"]["feature_names"] == [*NAMES]
    shares = {name: row["features"] for name, row in document["agents"].items()}
    assert shares == {"uniform": {}, "stacking": {"age": 1.0, "device": 1.0}, "knora_u": {}}
    assert load_agent(run / "agents" / "stacking-seed0").feature_names_ == NAMES
    assert document["agents"]["stacking"]["vs_uniform"]["accuracy_difference"] > 0.03
    outside = ["evaluate", "--run", str(run), "--predictions"]
    assert run_command([*outside, str(files / "lacking.npz"), "--out", str(tmp_path / "lacking")]) == 2
    assert "'stacking' reads, got none named 'device'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--features", "weight"], "features among those of the table, 'age' and 'device', got 'weight'"),
        ([], "the features 'age' and 'device', which the agent 'stacking' may read, got none named 'device'"),
        (["--features", "device"], "got none named 'device'; add it, or let the agents do without"),
        (["--agent", "uniform.features=all"], "for the agent 'uniform', got 'features'"),
    ],
)
def test_features_that_are_missing_are_one_sentence_and_leave_no_run(files, tmp_path, capsys, options, words):
    assert benchmark(files, tmp_path / "run", *options, test="lacking.npz") == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_features_are_asked_of_all_agents_that_can_read_them():
    def chosen(**options):
        return AgentOptions(out=None, agents=("static", "stacking", "ppo"), **options).chosen_agents()

    assert chosen(features=("all",)) == {
        "uniform": {},
        "static": {},
        "stacking": {"features": "all"},
        "ppo": {"features": "all"},
    }
    assert chosen(features=("age", "device"), agent=("ppo.features=none",)) == {
        "uniform": {},
        "static": {},
        "stacking": {"features": ["age", "device"]},
        "ppo": {"features": "none"},
    }
    assert not any(chosen().values())


def test_an_agent_is_fitted_on_the_features_named(files, tmp_path, capsys):
    command = ["fit-agent", "stacking", "--predictions", str(files / "train.csv"), "--out"]
    assert run_command([*command, str(tmp_path / "a"), "--features", "device", "age", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == ["device", "age"]
    assert run_command([*command, str(tmp_path / "b"), "--features", "none"]) == 0
    assert "features read: none" in capsys.readouterr().err


def test_renamed_body_parts_leave_features_alone():
    table = table_of(20, 2, "outside")
    mapped = map_body_parts(table, {"hand": "HAND"}, ["HAND"])
    assert mapped.feature_names == NAMES
    np.testing.assert_array_equal(mapped.features, table.features)
