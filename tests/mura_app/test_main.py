import subprocess
import sys

import numpy as np
import pytest

import mura_app
from mura_app import main
from mura_app.main import COMMANDS, run_command

FILES = ["--predictions", "{tmp}/a.npz", "--out", "{tmp}/out"]


def one_error_line(capsys):
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("mura: error: ")
    return lines[0]


def test_the_overview_names_every_command(capsys):
    assert run_command([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)


def test_an_unknown_command_names_the_known_ones(capsys):
    assert run_command(["trian"]) == 2
    line = one_error_line(capsys)
    assert "'trian'" in line
    assert "train" in line


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "fit-agent"])
def test_every_command_explains_every_option(name, capsys):
    with pytest.raises(SystemExit) as stop:
        run_command([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"mura {name}" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--data", "{tmp}/absent", "--out", "{tmp}/out"], ["{tmp}/absent"]),
        (["run", "--data", "{tmp}/empty", "--out", "{tmp}/out"], ["{tmp}/empty", "MURA", "FracAtlas"]),
        (["train", "--data", "{tmp}/empty", "--out", "{tmp}/out", "--preset", "fats"], ["'fats'", "fast"]),
        (
            ["benchmark", "--train", "{tmp}/a.npz", "--test", "{tmp}/b.npz", "--out", "{tmp}/out"],
            ["{tmp}/a.npz"],
        ),
        (["fit-agent", "pppo", "--predictions", "{tmp}/a.npz", "--out", "{tmp}/out"], ["'pppo'", "ppo"]),
        (["fit-agent", "uniform", "--predictions", "{tmp}/a.npz", "--out", "{tmp}/out"], ["{tmp}/a.npz"]),
        (["report", "--run", "{tmp}/empty"], ["{tmp}/empty"]),
        (["evaluate"], ["Missing", "--run", "`mura evaluate --help`"]),
        (["evaluate", "--run"], ["Missing value", "'--run'"]),
        (["evaluate", "--run", "x", "--jsn"], ["--jsn", "--json"]),
        (["fit-agent", "ppo", "--nonsense", "3"], ["--predictions", "--out", "--nonsense"]),
        (["fit-agent", "ppo", *FILES, "--n-epochs", "many"], ["--n-epochs", "'many'"]),
        (["fit-agent", "ppo", *FILES, "--network", "deep"], ["'deep'", "shared_head", "mlp"]),
        (["fit-agent", "ppo", *FILES, "--n-minibatches", "3"], ["expected n_minibatches to divide"]),
        (["fit-agent", "sac", *FILES, "--algorithm-options", "[1]"], ["algorithm_options as a JSON object"]),
        (["import-predictions", "{tmp}/a.csv", "--out", "{tmp}/out.npz"], ["{tmp}/a.csv"]),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, arguments, words):
    (tmp_path / "empty").mkdir()
    assert run_command([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    line = one_error_line(capsys)
    for word in words:
        assert word.format(tmp=tmp_path) in line
    assert not (tmp_path / "out").exists()


def test_lack_of_memory_is_told_and_defects_are_raised(monkeypatch, capsys):
    class Command:
        def __init__(self, error):
            self.error = error

        def run(self):
            raise self.error

    monkeypatch.setattr(main, "parse", lambda *_: Command(MemoryError()))
    assert run_command(["report"]) == 2
    assert "expected work that the memory of this machine holds" in one_error_line(capsys)
    for error in (RuntimeError("something else"), ValueError("shapes"), OSError("no errno"), KeyError("k")):
        monkeypatch.setattr(main, "parse", lambda *_, error=error: Command(error))
        with pytest.raises(type(error)) as caught:
            run_command(["report"])
        assert caught.value is error


def test_a_defect_ends_with_traceback_where_to_report_it_and_status_1(tmp_path, monkeypatch, capsys, tables):
    def broken(*_, **__):
        return np.zeros(3) + np.zeros(4)

    tables[0].save(tmp_path / "train.npz")
    monkeypatch.setattr("agents.controls.fixed_weights.Uniform._fit", broken)
    options = ["--predictions", str(tmp_path / "train.npz"), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main.main(["fit-agent", "uniform", *options])
    assert stop.value.code == 1
    *above, last = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in above
    assert above[-1].startswith("ValueError: operands could not be broadcast together")
    assert any("in broken" in line for line in above)
    version = mura_app.__version__
    assert last == (
        "mura: error: this is a defect of the program; please report this with the traceback above to the "
        f"authors of the installed package mura-rl-ensemble {version}"
    )


def test_the_traceback_of_a_user_error_is_shown_on_demand(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MURA_TRACEBACK", "1")
    with pytest.raises(SystemExit) as stop:
        main.main(["report", "--run", str(tmp_path / "absent")])
    assert stop.value.code == 2
    *above, last = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in above
    assert last.startswith("mura: error: ")
    assert str(tmp_path / "absent") in last
    assert "defect" not in last


def test_the_overview_starts_without_the_heavy_libraries():
    code = (
        "import sys; from mura_app.main import run_command; run_command(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
