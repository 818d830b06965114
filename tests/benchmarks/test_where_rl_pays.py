import json
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script(benchmark_script):
    return benchmark_script("where_rl_pays")


def test_the_bayes_decision_beats_every_rule_of_thumb_and_no_agent_is_told_it(script):
    table = script.confident_expert_table(20_000, 0, "")
    rows = np.arange(len(table))
    evidence = table.logits[:, :, 1] - table.logits[:, :, 0]
    first, second = table.body_parts % 3, (table.body_parts + 1) % 3
    threshold = (script.SURE + script.UNSURE) / 2
    rule = np.where(np.abs(evidence[rows, first]) > threshold, first, second)
    of_rule = ((evidence[rows, rule] > 0) == table.labels).mean()
    uniform = script.accuracy(table.probabilities.mean(axis=1), table)
    bayes = script.bayes_accuracy(table)
    assert uniform + 0.05 < of_rule <= bayes + 1e-9
    assert bayes < script.KNOWS + 0.01


def test_the_bayes_decision_agrees_with_a_loop(script):
    table = script.confident_expert_table(60, 1, "")
    right = 0
    for study in range(60):
        evidence = [float(b - a) for a, b in table.logits[study].astype(np.float64)]
        first = table.body_parts[study] % 3
        density = [
            np.exp(-((abs(evidence[first]) - mean) ** 2) / (2 * script.SPREAD**2))
            for mean in (script.SURE, script.UNSURE)
        ]
        posterior = []
        for label in (0, 1):
            total = 0.0
            for chance, expert in zip(density, (first, (first + 1) % 3), strict=True):
                for member in range(3):
                    competence = script.KNOWS if member == expert else script.GUESSES
                    chance *= competence if (evidence[member] > 0) == label else 1 - competence  # noqa: PLW2901
                total += chance
            posterior.append(total)
        right += (posterior[1] > posterior[0]) == table.labels[study]
    assert script.bayes_accuracy(table) == pytest.approx(right / 60)


def test_it_goes_on_where_it_was_stopped(script, tmp_path, monkeypatch):
    out, fitted = tmp_path / "results.json", []
    measure = script.measure

    def counted(name, train, test, seed):
        if len(fitted) == 3 and "stop" not in fitted:
            fitted.append("stop")
            raise KeyboardInterrupt
        fitted.append(name)
        return measure(name, train, test, seed)

    two = {name: (name, {}) for name in ("static", "static_per_body_part")}
    monkeypatch.setattr(script, "AGENTS", two)
    monkeypatch.setattr(script, "measure", counted)
    with pytest.raises(KeyboardInterrupt):
        script.run([100, 200], 2, 300, out)
    assert len(json.loads(out.read_text())["fits"]) == 3
    document = script.run([100, 200], 2, 300, out)
    assert len(document["fits"]) == 8
    assert len(fitted) - 1 == 8  # nothing was fitted twice
    gains = [
        document["fits"][f"static/200/{seed}"]["accuracy"] - document["tables"][str(seed)]["uniform"]
        for seed in range(2)
    ]
    row = document["summary"]["gains"]["static"]["200"]
    assert row["mean"] == pytest.approx(100 * np.mean(gains))
    assert row["spread"] == pytest.approx(100 * np.std(gains, ddof=1))
    changed = json.loads(out.read_text())
    changed["configs"]["static_per_body_part"]["prior_studies"] = 1.0
    out.write_text(json.dumps(changed))
    script.run([100, 200], 2, 300, out)
    assert fitted[9:] == ["static_per_body_part"] * 4  # whose defaults are not those of the file any more
    script.plot(document, [100, 200], 2, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="got others; remove the file"):
        script.run([100], 1, 301, out)


def test_the_committed_figures_are_those_of_the_script(script):
    document = json.loads((DOCS / "where-rl-pays.json").read_text())
    assert document["summary"] == script.summary(document, list(script.SIZES), script.N_SEEDS)
    assert set(document["summary"]["gains"]) == set(script.AGENTS)
    table = script.confident_expert_table(script.N_TEST, 1_000, "unseen-")
    assert document["tables"]["0"]["bayes"] == pytest.approx(script.bayes_accuracy(table), abs=1e-3)
