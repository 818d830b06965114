"""What leaves the page: every figure and table, and the agents' outputs study by study."""

import csv
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from agents import load_agent
from mura_app import figures
from mura_app.main import run_command
from mura_env import Predictions


@pytest.fixture(scope="module")
def run(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    for name, table in zip(("train", "test"), tables, strict=True):
        table.select(slice(0, 160)).save(folder / f"{name}.npz")
    words = [
        "--train",
        str(folder / "train.npz"),
        "--test",
        str(folder / "test.npz"),
        "--out",
        str(folder / "run"),
    ]
    words += ["--agents", "static", "reinforce", "--agent", "reinforce.total_steps=2000"]
    options = ["--agent-seeds", "2", "--cross-validation-seeds", "0", "--jobs", "1"]
    assert run_command(["benchmark", *words, *options]) == 0
    return folder / "run"


def draw_only(names, monkeypatch):
    """Export these figures alone: to draw all of them takes ten seconds."""
    whole = figures.figures
    monkeypatch.setattr(figures, "figures", lambda run: {name: whole(run)[name] for name in names})


def test_everything_on_the_page_is_exported(run, tmp_path, capsys, monkeypatch):
    out = tmp_path / "paper"
    command = ["report", "--run", str(run), "--export", str(out), "--json"]
    assert run_command(command) == 0
    exported = json.loads(capsys.readouterr().out)["exported"]
    assert sorted(exported) == sorted(str(path) for path in out.rglob("*") if path.is_file())
    page = (run / "report.html").read_text(encoding="utf-8")
    names = {kind: {path.stem for path in out.rglob(f"*.{kind}")} for kind in ("svg", "pdf", "csv", "tex")}
    assert names["svg"] == names["pdf"] == figures.figures(run).keys()
    assert names["tex"] == names["csv"] - {"study_outputs"} == figures.tables(run).keys()
    assert len(names["svg"]) == page.count("<svg")
    assert len(names["tex"]) == page.count("<table")
    for path in out.rglob("*.svg"):
        tree = ET.fromstring(path.read_bytes())  # noqa: S314 - written above
        assert tree.tag.endswith("svg")
        assert "currentColor" not in path.read_text(encoding="utf-8")
    assert all(path.read_bytes().startswith(b"%PDF") for path in out.rglob("*.pdf"))
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    assert run_command(command) == 2
    assert "already exists; choose another folder, or add --overwrite" in capsys.readouterr().err
    draw_only(sorted(names["svg"])[::4], monkeypatch)
    assert run_command([*command, "--overwrite"]) == 0
    assert {
        path: path.read_bytes() for path in out.rglob("*.*")
    } == before  # the same figure is the same file


def has_latex():
    tools = shutil.which("pdflatex"), shutil.which("kpsewhich")
    if None in tools:
        return False
    found = subprocess.run([tools[1], "booktabs.sty"], check=False, capture_output=True)
    return found.returncode == 0


@pytest.mark.skipif(not has_latex(), reason="no pdflatex with booktabs found")
def test_the_exported_tables_compile(run, tmp_path):
    tables = figures.tables(run)
    for name, table in tables.items():
        (tmp_path / f"{name}.tex").write_text(figures.latex_text(table), encoding="utf-8")
    inputs = "\n\n".join(rf"\input{{{name}.tex}}" for name in tables)
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{booktabs}"
        rf"\begin{{document}}{inputs}\end{{document}}"
    )
    command = ["pdflatex", "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    ended = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_a_table_says_what_the_document_says(run):
    rows = [
        *csv.reader(
            figures.csv_text(figures.tables(run)["agents-and-controls-on-the-test-table"]).splitlines()
        )
    ]
    document = json.loads((run / "benchmark.json").read_text())
    for name, accuracy, low, high in (row[:4] for row in rows[1:]):
        figure = {**document["agents"], **document["controls"]}[re.sub(r" \(.*", "", name)]["accuracy"]
        shown = [100 * value for value in (figure["mean"], *figure["ci95"])]
        np.testing.assert_allclose([float(accuracy), float(low), float(high)], shown, atol=0.0501)


def test_outputs_by_study_are_the_mean_of_the_saved_agents(run):
    test = Predictions.load(run.parent / "test.npz")
    rows = figures.study_outputs(run)
    assert len(rows) == 3 * len(test)
    agents = [load_agent(run / "agents" / f"reinforce-seed{seed}") for seed in (0, 1)]
    probabilities = np.mean([agent.predict_proba(test) for agent in agents], axis=0)
    weights = np.mean([agent.weights(test) for agent in agents], axis=0)
    own = [row for row in rows if row["agent"] == "reinforce"]
    assert [row["study_id"] for row in own] == test.study_ids.tolist()
    assert [row["label"] for row in own] == [test.class_names[label] for label in test.labels]
    assert [row["predicted_class"] for row in own] == [
        test.class_names[k] for k in probabilities.argmax(axis=1)
    ]
    shown = [[row[f"probability_{name}"] for name in test.class_names] for row in own]
    np.testing.assert_allclose(shown, probabilities, atol=1e-6)
    np.testing.assert_allclose(
        [[row[f"weight_{name}"] for name in test.model_names] for row in own], weights, atol=1e-6
    )


def test_without_its_tables_a_run_shows_the_rest_and_says_so(run, tmp_path, capsys, monkeypatch):
    draw_only(["difference"], monkeypatch)
    moved = run.parent / "test.npz"
    moved.rename(tmp_path / "test.npz")
    try:
        assert run_command(["report", "--run", str(run), "--export", str(tmp_path / "out")]) == 0
    finally:
        (tmp_path / "test.npz").rename(moved)
    assert "without study_outputs.csv: the run's tables or agents" in capsys.readouterr().err
    assert not (tmp_path / "out" / "study_outputs.csv").exists()
    assert (tmp_path / "out" / "figures" / "difference.pdf").is_file()
