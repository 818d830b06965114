import math

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script(benchmark_script):
    return benchmark_script("bench_agents")


@pytest.fixture(scope="module")
def speed(benchmark_script):
    return benchmark_script("agent_speed")


def test_the_target_is_95_percent_of_the_gain_to_the_experts(speed):
    table = speed.expert_table(20_000)
    uniform = np.mean(table.logits.astype(float).mean(axis=1).argmax(axis=1) == table.labels)
    assert 0.7 < uniform < 0.85
    assert abs(speed.target(table) - (uniform + 0.95 * (0.95 - uniform))) < 0.02


@pytest.mark.parametrize(
    ("name", "options", "beside"),
    [
        ("ppo", {"studies_per_step": 32, "n_minibatches": 4}, {"epochs": 4, "batch": 8 * 10}),
        ("grpo", {"studies_per_update": 16, "draws_per_study": 2}, {"epochs": 2, "batch": 16 * 10}),
        ("trpo", {"studies_per_step": 32, "n_steps": 2}, {"epochs": 1, "batch": 64}),
    ],
)
def test_epochs_batch_and_updates_stand_beside_a_speed(speed, name, options, beside):
    row = speed.throughput(name, options | {"kl_coefficients": (0.0, 0.1)}, speed.expert_table(400), 0.0)
    assert {key: row[key] for key in beside} == beside
    assert row["policies"] == (1 if name == "trpo" else 10)
    assert row["updates"] > 4
    assert math.isclose(row["draws_per_second"], row["studies_per_second"] * row["draws_per_study"])


@pytest.mark.parametrize("name", ["ppo", "trpo"])
def test_an_agent_that_stays_below_the_target_says_after_how_many_updates(speed, name, monkeypatch):
    options = {
        "total_steps": 256,
        "studies_per_step": 32,
        "n_steps": 1,
        "kl_coefficients": (0.0,),
        "n_folds": 2,
    }
    table = speed.expert_table(400)
    monkeypatch.setattr(speed, "target", lambda table: 1.1)
    found = speed.time_to_optimum(name, options, table)
    assert found["seconds_to_optimum"] is None
    assert found["seconds_given"] > 0
    assert found["updates_to_optimum"] == 256 // 32
    monkeypatch.setattr(speed, "target", lambda table: 0.0)
    found = speed.time_to_optimum(name, options, table)
    assert found["seconds_to_optimum"] == found["seconds_given"] > 0
    assert found["updates_to_optimum"] == (256 // 32 if name == "trpo" else 1)


def test_the_stock_algorithm_is_measured_until_its_time_is_up(speed):
    row = speed.stock(speed.expert_table(100), n_epochs=1, limit=0.1)
    assert row["updates"] == row["updates_to_optimum"] == 1
    assert math.isclose(row["draws_per_second"] * row["seconds_given"], 2_048)


def test_the_table_says_what_was_not_reached(script, capsys):
    row = {"studies_per_second": 1.0, "draws_per_second": 4.0, "updates": 7, "seconds_to_optimum": None}
    row |= {"updates_to_optimum": 3, "epochs": 1, "batch": 64, "policies": 20}
    tables = {"MURA": {"studies": 400, "agents": {"one": row, "two": row | {"seconds_to_optimum": 2.5}}}}
    script.show({"tables": tables, "requirements": {"ppo times stock": 60.0}})
    shown = capsys.readouterr().out.splitlines()
    assert shown[2].split() == ["one", "1", "4", "7", "not", "reached", "3", "1", "64", "20"]
    assert shown[3].split() == ["two", "1", "4", "7", "2.5", "s", "3", "1", "64", "20"]
    assert shown[-1].split() == ["ppo", "times", "stock", "60.00"]
