"""`mura benchmark --task consult`: where it lies, what it is continued with, what it refuses."""

import json
from typing import Any

import pytest

from mura_app.main import run_command
from mura_app.report.consultation import near_full_sentence, render_consultation, verdict_sentences

OPTIONS = [
    *("--task", "consult", "--agent-seeds", "1", "--jobs", "1", "--prices", "0.01", "0.1"),
    *("--agents", "cascade", "consult_pg"),
    "--agent",
    ",".join(
        f"{name}.{option}"
        for name in ("full_ensemble", "cascade_per_body_part", "cascade", "consult_pg")
        for option in ("head=pool", "n_folds=2")
    ),
    *("--agent", "consult_pg.updates=5,consult_pg.cloning_updates=5"),
]


@pytest.fixture(scope="module")
def run(tables: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run's folder with tables in it, and a benchmark of consultation on them."""
    folder = tmp_path_factory.mktemp("consult") / "run"
    given = folder.with_name("given")
    given.mkdir()
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(given / f"{name}.npz")
    command = ["benchmark", "--out", str(folder), "--agents", "static", "--agent-seeds", "1", "--jobs", "1"]
    assert run_command([*command, *(f"--{name}={given / name}.npz" for name in ("train", "test"))]) == 0
    given.rename(folder / "predictions")
    assert run_command(["benchmark", "--out", str(folder), *OPTIONS]) == 0
    return folder


def test_it_lies_in_the_run_and_takes_its_tables(run: Any, tables: Any) -> None:
    settings = json.loads((run / "consultation" / "config.json").read_text())
    assert (settings["task"], settings["prices"]) == ("consult", [0.01, 0.1])
    names = ["full_ensemble", "cascade_per_body_part", "cascade", "consult_pg"]
    assert settings["agents"] == names
    document = json.loads((run / "consultation" / "consultation.json").read_text())
    assert document["n_studies"] == len(tables[1])
    assert {path.name for path in (run / "consultation" / "agents").iterdir()} == {
        f"{n}-seed0" for n in names
    }
    page = (run / "consultation" / "report.html").read_text()
    for words in (
        "Accuracy against cost",
        "Paired difference",
        "Which members are asked",
        "every member counts as equally",
    ):
        assert words in page


def test_it_is_continued_with_more_agents_alone(run: Any, capsys: Any) -> None:
    saved = run / "consultation" / "agents"
    before = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    command = ["benchmark", "--out", str(run)]
    assert run_command([*command, *OPTIONS]) == 2
    assert "--resume" in capsys.readouterr().err
    more = ["--agents", "best_subset", "--agent", "best_subset.head=pool,best_subset.n_folds=2"]
    assert run_command([*command, "--task", "consult", "--resume", "--jobs", "1", *more]) == 0
    after = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    assert {path.parent.name for path in after.keys() - before.keys()} == {"best_subset-seed0"}
    assert {path: after[path] for path in before} == before
    assert run_command([*command, "--task", "consult", "--resume", "--prices", "0.5", "--jobs", "1"]) == 2
    assert "--prices" in capsys.readouterr().err
    page = run / "consultation" / "report.html"
    page.unlink()
    assert run_command(["report", "--run", str(run)]) == 0
    assert page.is_file()


def test_what_is_none_of_consultation_is_refused(run: Any, tmp_path: Any, capsys: Any) -> None:
    for options, words in (
        (["--task", "consult", "--agents", "ppo"], "expected agents of consultation"),
        (["--task", "consult", "--targets", "balanced"], "expected --targets beside weighting agents"),
        (["--prices", "0.1", "--train", "x", "--test", "x"], "expected --prices beside --task consult"),
        (["--task", "consult"], "is no finished run"),
    ):
        assert run_command(["benchmark", "--out", str(tmp_path / "new"), *options]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    given = [f"--{name}={run / 'predictions' / name}.npz" for name in ("train", "test")]
    assert run_command(["benchmark", "--out", str(tmp_path / "other"), "--task", "consult", *given]) == 2
    assert "mine.txt" not in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "other").iterdir()} <= {"mine.txt", ".lock"}


def test_an_agent_of_consultation_is_fitted_and_listed_alone(run: Any, tmp_path: Any, capsys: Any) -> None:
    table = str(run / "predictions" / "train.npz")
    command = ["fit-agent", "cascade", "--predictions", table, "--out", str(tmp_path / "agent")]
    assert run_command([*command, "--head", "pool", "--n-folds", "2"]) == 0
    capsys.readouterr()
    assert run_command(["list", "consultation-agents", "--json"]) == 0
    assert "consult_pg" in {row["name"] for row in json.loads(capsys.readouterr().out)["consultation-agents"]}
    answers = tmp_path / "answers.csv"
    told = ["predict", "--run", str(run), "--consult", "--price", "0.1", "--agent", str(tmp_path / "agent")]
    assert (
        run_command([*told, "--predictions", str(run / "predictions" / "test.npz"), "--out", str(answers)])
        == 0
    )
    header, first, *_ = answers.read_text().splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert row["price"] == "0.1"
    assert float(row["cost"]) == len(row["asked"].split()) / 2


def document(low: float, high: float, *, kept: float | None = 0.0) -> dict[str, Any]:
    near = {"price": 0.1, "cost": 0.3, "accuracy_difference": {"mean": -0.001, "ci95": [-0.01, 0.01]}}
    versus = {"mean": (low + high) / 2, "ci95": [low, high]}
    learned = {"learns_policy": True, "vs_reference": versus, "kept_cascade": kept, "near_full": near}
    reference = {"learns_policy": False, "vs_reference": None, "kept_cascade": None, "near_full": None}
    return {
        "reference": "cascade_per_body_part",
        "agents": {"cascade_per_body_part": reference, "pg": learned},
    }


def test_a_gain_is_claimed_only_where_the_interval_says_so() -> None:
    (shown,) = verdict_sentences(document(0.002, 0.02))
    assert "it earns more than cascade_per_body_part, +1.10 (95 % interval +0.20 to +2.00)" in shown
    (worse,) = verdict_sentences(document(-0.02, -0.002))
    assert "it earns less than" in worse
    (open_,) = verdict_sentences(document(-0.001, 0.02, kept=1.0))
    assert "no difference is shown from" in open_
    assert "more than" not in open_
    assert "in every fit it is a cascade" in open_
    assert "30 % of the full ensemble's" in near_full_sentence(document(0, 1))


def test_names_are_text_on_the_page(run: Any) -> None:
    found = json.loads((run / "consultation" / "consultation.json").read_text())
    hostile = "<script>alert(1)</script>"
    found["protocol"]["model_names"] = [hostile, hostile]
    found["worked"] = {
        "agent": "cascade",
        "price": 0.1,
        "study_id": hostile,
        "body_part": hostile,
        "label": hostile,
        "steps": [
            {"member": None, "said": None, "answer": [0.5, 0.5], "spent": 0.0},
            {"member": hostile, "said": [0.1, 0.9], "answer": [0.2, 0.8], "spent": 0.5},
        ],
    }
    page = render_consultation(found, title=hostile, settings={"x": hostile})
    assert hostile not in page
    assert "is asked and says abnormal 90 %; answer by then: abnormal 80 %, 50 % of the full cost" in page
