"""Two commands that start at the same moment and write to the same new place: exactly one is accepted."""

import contextlib
import io
import json
import multiprocessing
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from mura_app.main import run_command
from tests.base_models.trees import write_mura
from tests.mura_app.conftest import make_table

ROOT = Path(__file__).parents[2]
KINDS = ("train", "benchmark", "import-predictions")


def _commands(work: Path, kind: str, number: int) -> list[list[str]]:
    """Return two commands of one kind with the same place to write to, but other settings."""
    out = work / f"{kind}-{number}"
    if kind == "train":
        small = ["--ensemble.folds", "2", "--members", "attention_cnn:1:16:1", "--ensemble.jobs", "1"]
        data = ["--data", str(work / "MURA-v1.1"), "--ensemble.training.batch-size", "16"]
        return [["train", *data, *small, "--out", str(out), "--seed", str(seed)] for seed in (1, 2)]
    if kind == "benchmark":
        tables = ["--train", str(work / "train.npz"), "--test", str(work / "test.npz"), "--jobs", "1"]
        common = [
            "benchmark",
            *tables,
            "--out",
            str(out),
            "--cross-validation-seeds",
            "0",
            "--agents",
            "static",
        ]
        return [[*common, "--agent-seeds", str(seeds)] for seeds in (1, 2)]
    return [
        ["import-predictions", str(work / f"{name}.csv"), "--out", f"{out}.npz"] for name in ("train", "test")
    ]


def _start(command: list[str], barrier: Barrier, found: Path) -> None:
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(io.StringIO()):
        barrier.wait()
        status = run_command(command)
    found.write_text(json.dumps([status, messages.getvalue()]))


def _what_lies_there(work: Path, kind: str, number: int) -> object:
    """Return what tells from which of the two commands the written files are: one value if all are of one."""
    out = work / f"{kind}-{number}"
    if kind == "train":
        return {json.loads((out / name).read_text())["seed"] for name in ("config.json", "training.json")}
    if kind == "benchmark":
        seeds = json.loads((out / "benchmark.json").read_text())["seeds"]
        return {json.loads((out / "config.json").read_text())["agent_seeds"], len(seeds)}
    return {Path(f"{out}.npz").stat().st_size}


def start_pairs(work: Path, n_pairs: int) -> None:
    """Start pairs in forked processes, which have imported everything already, and check each."""
    context = multiprocessing.get_context("fork")
    for number in range(n_pairs):
        kind, barrier = KINDS[number % len(KINDS)], context.Barrier(2)
        files = [work / f"found-{number}-{which}.json" for which in range(2)]
        pair = [
            context.Process(target=_start, args=(command, barrier, file))
            for command, file in zip(_commands(work, kind, number), files, strict=True)
        ]
        for process in pair:
            process.start()
        for process in pair:
            process.join()
        found = [json.loads(file.read_text()) for file in files]
        assert sorted(status for status, _ in found) == [0, 2], (kind, found)
        ((refused,),) = ([messages.splitlines() for status, messages in found if status == 2],)
        assert len(refused) == 1, refused
        assert "no other command" in refused[0] or "already" in refused[0], refused
        assert len(_what_lies_there(work, kind, number)) == 1  # type: ignore[arg-type]
        sys.stdout.write(f"{kind}: {refused[0][:60]}\n")


@pytest.mark.slow
def test_of_two_that_start_at_once_exactly_one_is_accepted(tmp_path: Path) -> None:
    write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4})
    for seed, name in enumerate(("train", "test")):
        make_table(60 + 20 * seed, seed, name).save(tmp_path / f"{name}.npz")
        make_table(60 + 20 * seed, seed, name).to_csv(tmp_path / f"{name}.csv")
    code = "import sys, pathlib, torch, tests.mura_app.test_two_starts as t; torch.set_num_threads(1)\n"
    code += (
        "import mura_app.pipeline, mura_app.commands.benchmark; t.start_pairs(pathlib.Path(sys.argv[1]), 50)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("\n") == 50
    sys.stdout.write(process.stdout)
