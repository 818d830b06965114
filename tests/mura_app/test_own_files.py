"""`--import FILE` before anything else."""

import json

import pytest

from agents.registry import AGENTS
from mura_app.main import run_command
from mura_app.own_files import without_imports
from mura_env.errors import UserError
from tests.agents.tables import switching_table

OWN = """
import numpy as np
from agents import from_policy

def first(observations):
    weights = np.zeros((len(observations), 3))
    weights[:, 0] = 1
    return weights

from_policy("first_member", first, action="weights")
"""


@pytest.fixture(autouse=True)
def as_before():
    known = {*AGENTS.registered()}
    yield
    for name in AGENTS.registered().keys() - known:
        del AGENTS._items[name]


def test_files_are_taken_out_of_the_words():
    words = ["--train", "a", "--import", "one.py", "--import=two.py", "--out", "b"]
    left, files = without_imports(words)
    assert left == ["--train", "a", "--out", "b"]
    assert [str(file) for file in files] == ["one.py", "two.py"]
    for wrong in (["--import"], ["--import", "--out"]):
        with pytest.raises(UserError, match="expected a Python file behind --import"):
            without_imports(wrong)


def test_an_agent_of_a_file_is_compared(tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    switching_table(150, 0).save(tmp_path / "table.npz")
    table, out = str(tmp_path / "table.npz"), str(tmp_path / "run")
    words = ["benchmark", "--import", str(tmp_path / "own.py"), "--predictions", table, "--out", out]
    variant = ["--agent", "soft=stacking,soft.l2=50.0"]
    few = ["--agent-seeds", "1", "--cross-validation-seeds", "0", "--jobs", "1", "--json"]
    assert run_command([*words, "--agents", "first_member", *variant, *few]) == 0
    agents = json.loads(capsys.readouterr().out)["agents"]
    assert [*agents] == ["uniform", "first_member", "soft"]
    assert agents["first_member"]["weights"]["mean"] == [1.0, 0.0, 0.0]
    assert (agents["soft"]["options"]["agent"], agents["soft"]["options"]["l2"]) == ("stacking", 50.0)
    assert run_command(["list", "agents", "--import", str(tmp_path / "own.py")]) == 0
    assert "first_member" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("own.txt", "", "expected a Python file (.py)"),
        ("other.py", None, "got none at"),
        ("own.py", "\nimport nothing_of_this_name", "ModuleNotFoundError in line 2 of"),
        ("own.py", "x = (", "SyntaxError in"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(tmp_path, capsys, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert run_command(["list", "agents", "--import", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert words in " ".join(error.split())
    assert error.count("\n") == 1
