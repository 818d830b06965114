"""The benchmark of consultation: its figures recomputed study by study, and what is fitted again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import load_agent
from agents.benchmark.consultation import run_consultation
from agents.benchmark.consultation_document import FULL, REFERENCE, SHORTFALL, ConsultationBenchmark
from mura_env import Predictions
from mura_env.consultation.task import study_costs
from mura_env.errors import UserError
from tests.mura_env.tables import random_table

PRICES = (0.01, 0.1, 0.4)


def table(n_studies: int, seed: int, prefix: str) -> Predictions:
    return random_table(
        n_studies,
        seed=seed,
        scale=1.0,
        costs=[4, 2, 1],
        study_ids=[f"{prefix}{i}" for i in range(n_studies)],
        patient_ids=[f"{prefix}{i // 2}" for i in range(n_studies)],
    )


TRAIN, TEST = table(300, 0, "train-"), table(120, 1, "test-")
OPTIONS: dict[str, dict[str, Any]] = {
    name: {"head": "pool", "n_folds": 2} for name in (FULL, REFERENCE, "best_subset")
} | {"consult_pg": {"head": "pool", "n_folds": 2, "updates": 20, "cloning_updates": 20}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.consultation.policy.is_gain", lambda gains: True)
        document = run_consultation(TRAIN, TEST, OPTIONS, (0, 1), folder, prices=PRICES, n_jobs=1)
    return folder, document


def test_the_document_is_of_its_model_and_says_how_it_was_made(run: tuple[Path, dict[str, Any]]) -> None:
    _, document = run
    ConsultationBenchmark.model_validate(document)
    assert list(document["agents"]) == [FULL, REFERENCE, "best_subset", "consult_pg"]
    protocol = document["protocol"]
    np.testing.assert_allclose(protocol["costs"], np.array([4, 2, 1]) / 7)
    assert not protocol["enough_seeds"]
    assert "2 seeds were run" in " ".join(protocol["notes"])
    damaged = {**document, "agents": {"best_subset": document["agents"]["best_subset"]}}
    with pytest.raises(ValueError, match="in agents"):
        ConsultationBenchmark.model_validate(damaged)


def test_figures_are_those_of_saved_agents_study_by_study(run: tuple[Path, dict[str, Any]]) -> None:
    folder, document = run
    earned: dict[str, list[list[float]]] = {}
    for name, row in document["agents"].items():
        for index, price in enumerate(PRICES):
            accuracy, cost, asked = [], [], []
            for seed in (0, 1):
                agent: Any = load_agent(folder / "agents" / f"{name}-seed{seed}")
                found = agent.consult(TEST, price)
                costs, _ = study_costs(TEST, unit=float(agent.arrays_["cost_unit"][0]))
                paid = [sum(costs[m, i] for m in found.questions[i] if m >= 0) for i in range(len(TEST))]
                right = [
                    int(p.argmax() == label)
                    for p, label in zip(found.probabilities, TEST.labels, strict=True)
                ]
                accuracy.append(right)
                cost.append(paid)
                asked.append([[m in found.questions[i] for m in range(3)] for i in range(len(TEST))])
            at = row["by_price"][index]
            assert at["accuracy"]["mean"] == pytest.approx(np.mean(accuracy))
            assert at["cost"]["mean"] == pytest.approx(np.mean(cost), abs=1e-6)
            assert at["earned"]["mean"] == pytest.approx(np.mean(accuracy) - price * np.mean(cost), abs=1e-6)
            np.testing.assert_allclose(at["asked"], np.mean(asked, axis=(0, 1)))
            for part, name_of_part in enumerate(TEST.body_part_names):
                chosen = np.array(asked)[:, TEST.body_parts == part]
                np.testing.assert_allclose(at["asked_by_body_part"][name_of_part], chosen.mean(axis=(0, 1)))
            low, high = at["earned"]["ci95"]
            assert low < at["earned"]["mean"] < high
            earned.setdefault(name, []).append(
                (np.array(accuracy) - price * np.array(cost)).mean(axis=0).tolist()
            )
    for name, row in document["agents"].items():
        assert row["earned"]["mean"] == pytest.approx(np.mean(earned[name]), abs=1e-6)
        if name == REFERENCE:
            assert row["vs_reference"] is None
            continue
        gain = np.mean(earned[name]) - np.mean(earned[REFERENCE])
        assert row["vs_reference"]["mean"] == pytest.approx(gain, abs=1e-6)
        assert row["vs_reference"]["ci95"][0] <= gain <= row["vs_reference"]["ci95"][1]


def test_the_least_cost_is_that_of_a_price_at_which_little_accuracy_is_lost(
    run: tuple[Path, dict[str, Any]],
) -> None:
    _, document = run
    full = document["agents"][FULL]["by_price"][0]["accuracy"]["mean"]
    for row in document["agents"].values():
        near = [at for at in row["by_price"] if at["accuracy"]["mean"] >= full - SHORTFALL - 1e-9]
        if not near:
            assert row["near_full"] is None
            continue
        cheapest = min(near, key=lambda at: at["cost"]["mean"])
        assert row["near_full"]["price"] == cheapest["price"]
        assert row["near_full"]["cost"] == pytest.approx(cheapest["cost"]["mean"])
        difference = row["near_full"]["accuracy_difference"]["mean"]
        assert difference == pytest.approx(cheapest["accuracy"]["mean"] - full)
    assert document["agents"][FULL]["near_full"]["accuracy_difference"]["mean"] == 0


def test_the_worked_study_is_what_the_agent_does_step_by_step(run: tuple[Path, dict[str, Any]]) -> None:
    folder, document = run
    worked = document["worked"]
    assert worked["agent"] == "consult_pg"
    agent: Any = load_agent(folder / "agents" / "consult_pg-seed0")
    row = TEST.study_ids.tolist().index(worked["study_id"])
    found = agent.consult(TEST.select([row]), worked["price"])
    names = [TEST.model_names[m] for m in found.questions[0] if m >= 0]
    assert [step["member"] for step in worked["steps"]] == [None, *names]
    assert len(names) >= 2
    np.testing.assert_allclose(worked["steps"][-1]["answer"], found.probabilities[0])
    for step in worked["steps"][1:]:
        said = TEST.probabilities[row, TEST.model_names.index(step["member"])]
        np.testing.assert_allclose(step["said"], said)
    costs = dict(zip(TEST.model_names, (4 / 7, 2 / 7, 1 / 7), strict=True))
    assert worked["steps"][-1]["spent"] == pytest.approx(sum(costs[name] for name in names), abs=1e-6)
    assert int(np.argmax(worked["steps"][-1]["answer"])) == TEST.labels[row]


def test_what_is_saved_is_not_fitted_again(run: tuple[Path, dict[str, Any]], monkeypatch: Any) -> None:
    folder, document = run
    fitted: list[str] = []
    monkeypatch.setattr("agents.agent.Agent.fit", lambda self, *_, **__: fitted.append(self.name))
    told: list[tuple[int, int]] = []
    again = run_consultation(
        TRAIN,
        TEST,
        OPTIONS,
        (0, 1),
        folder,
        prices=PRICES,
        n_jobs=1,
        progress=lambda _, done, total: told.append((done, total)),
    )
    assert again == document
    assert not fitted
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_weighting_agents_and_odd_prices_are_refused() -> None:
    with pytest.raises(UserError, match=r"agents of consultation .* got 'uniform'"):
        run_consultation(TRAIN, TEST, ["uniform"], (0,))
    with pytest.raises(UserError, match="prices in ascending order"):
        run_consultation(TRAIN, TEST, ["cascade"], (0,), prices=(0.1, 0.01))
