"""The command `train` under torchrun: what a user can mend is told once and ends all processes alike."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mura_app import main
from tests.base_models.trees import write_mura

ROOT = Path(__file__).parents[2]
SMALL = ["--ensemble.folds", "2", "--members", "attention_cnn:1:16:2", "--ensemble.training.batch-size", "8"]
BATCHES = [*SMALL, "--ensemble.parallelism", "ddp"]


def _torchrun(
    folder: Path, commands: Sequence[Sequence[str]]
) -> tuple[str, list[list[tuple[int, str, str]]]]:
    """Run commands in two processes; the messages of the last, and what each of the others left, by rank."""
    (folder / "commands.json").write_text(json.dumps(commands))
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.mura_app.two_commands", str(folder / "commands.json")],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (folder / "1.json").exists(), process.stderr
    return process.stderr, [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_an_error_of_the_user_is_told_once_and_ends_all_processes(tmp_path: Path) -> None:
    data, taken, out = tmp_path / "data0", tmp_path / "taken", tmp_path / "out"
    write_mura(data, {"train": 8, "valid": 4})
    taken.mkdir()
    (taken / "thesis.txt").write_text("do not lose")
    train = ["train", "--data", str(data), "--out", str(out)]
    refused = [*train[:4], str(tmp_path / "refused")]
    rate = ["--ensemble.training.learning-rate", "10", "--ensemble.training.weight-decay", "10"]
    rate += ["--ensemble.training.schedule", "constant", "--ensemble.training.precision", "fp32"]
    rate += ["--members", "attention_cnn:1:16:40"]  # weights grow with every epoch
    cases = [
        ([*train, "--jsn"], "Unrecognized options: --jsn"),
        (["trian"], "got 'trian'"),
        ([*refused, *BATCHES, "--ensemble.training.batch-size", "7"], "2 processes share evenly"),
        (
            ["train", "--data", f"{tmp_path}/data{{rank}}", *train[3:]],
            "data1 does not exist; check the path (rank 1, on ",
        ),
        ([*train[:4], str(taken), *SMALL], f"an empty folder or one of an earlier run, got {taken}"),
        ([*train, *BATCHES, *rate], "expected the training of member '1-attention_cnn' to converge"),
    ]
    last, found = _torchrun(tmp_path, [*(arguments for arguments, _ in cases), [*train[:4], str(taken)]])
    for (status, messages, printed), (others, nothing, also_nothing), (_, words) in zip(
        *found, cases, strict=True
    ):
        errors = [
            line
            for line in messages.splitlines()
            if not re.match(r"(reading radiographs|training): |2 fits to ", line)
        ]
        assert [line[: len("mura: error: ")] for line in errors] == ["mura: error: "], messages
        assert words in errors[0]
        assert (nothing, printed, also_nothing) == ("", "", "")
        assert (status, others) == (2, 2)
    assert sorted(path.name for path in taken.iterdir()) == ["thesis.txt"]
    assert not (tmp_path / "refused").exists()
    assert last.count("mura: error: ") == 1
    assert "[rank" not in last  # so torch begins the lines of a process that ends with a traceback
    assert last.count("exitcode  : 2 ") == 2


@pytest.mark.parametrize(
    ("is_global_zero", "all_end", "is_told"),
    [(True, True, True), (False, True, False), (True, False, True), (False, False, True)],
)
def test_an_error_that_one_process_has_alone_is_told_by_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    is_global_zero: bool,
    all_end: bool,
    is_told: bool,
) -> None:
    class Group:
        def __init__(self) -> None:
            self.is_global_zero = is_global_zero

        def shutdown_barrier(self) -> bool:
            return all_end

    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    main._print_error("sentence", Group())
    assert capsys.readouterr().err == "mura: error: sentence\n" * is_told
