import json
import sys

import pytest

from mura_app.main import run_command


@pytest.fixture(scope="module")
def arguments(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(folder / f"{name}.npz")
    return [
        "benchmark",
        *("--train", str(folder / "train.npz")),
        *("--test", str(folder / "test.npz")),
        *("--agent-seeds", "2"),
        *("--jobs", "1"),
    ]


def test_an_agent_that_is_added_later_is_the_only_one_fitted(arguments, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    assert run_command([*arguments, *out, "--agents", "static", "best_single"]) == 0
    saved = tmp_path / "run" / "agents"
    before = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    assert run_command([*arguments, *out, "--agents", "oracle"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert run_command([*arguments, *out, "--agents", "oracle", "--resume"]) == 0
    after = {path: path.stat().st_mtime_ns for path in saved.rglob("*") if path.is_file()}
    assert {path for path in after if path not in before} == {
        saved / "oracle-seed0" / name for name in ("agent.json", "agent.safetensors")
    }
    assert {path: after[path] for path in before} == before
    at_once = ["--out", str(tmp_path / "at-once"), "--agents", "static", "best_single", "oracle"]
    assert run_command([*arguments, *at_once]) == 0
    contents = [(tmp_path / name / "benchmark.json").read_text() for name in ("run", "at-once")]
    assert contents[0] == contents[1]
    assert list(json.loads(contents[0])["agents"]) == ["uniform", "static", "best_single", "oracle"]


@pytest.mark.parametrize(
    "case",
    [
        (["--agents", "statics"], ["'statics'", "static"]),
        (["--backend", "ray", "--agents", "static"], ["'ray'", "pip install ray"]),
    ],
)
def test_wrong_names_leave_no_run_behind(arguments, case, tmp_path, capsys, monkeypatch):
    options, words = case
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_command([*arguments, "--out", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words)
    assert not (tmp_path / "run").exists()
