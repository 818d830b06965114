import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from base_models.datasets import open_dataset
from base_models.distributed import ALONE, assign, join_process_group, launched_group
from base_models.ensemble import train_ensemble
from base_models.members import load_members
from base_models.storage import load_tensors
from mura_env import Predictions
from mura_env.errors import UserError
from tests.base_models.trees import write_mura
from tests.base_models.two_processes import SMALL, gradients

ROOT = Path(__file__).parents[2]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 3))
def test_jobs_are_divided_well(costs: list[int], n_processes: int) -> None:
    jobs = assign(costs, n_processes)
    assert sorted(itertools.chain(*jobs)) == list(range(len(costs)))
    longest = max(sum(costs[job] for job in own) for own in jobs)
    best = min(
        max(sum(c for c, p in zip(costs, choice, strict=True) if p == q) for q in range(n_processes))
        for choice in itertools.product(range(n_processes), repeat=len(costs))
    )
    assert longest <= (4 / 3) * best
    assert all(costs[a] >= costs[b] for own in jobs for a, b in itertools.pairwise(own))


def test_a_process_without_torchrun_is_alone() -> None:
    with join_process_group() as group:
        assert group == ALONE
        group.barrier()
        assert (group.broadcast("x"), group.all_gather("x")) == ("x", ["x"])


TORCHRUN = {
    **{"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
    **{"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": None, "RANK": "x"}, None),
        (
            {"RANK": None, "WORLD_SIZE": None, "MASTER_ADDR": None},
            "expected RANK as torchrun sets it, got ''",
        ),
        ({"MASTER_PORT": None}, "expected MASTER_PORT"),
        ({"MASTER_ADDR": ""}, "expected MASTER_ADDR"),
        ({"LOCAL_WORLD_SIZE": "two"}, "expected LOCAL_WORLD_SIZE as torchrun sets it, got 'two'"),
        ({"WORLD_SIZE": "9" * 40}, "expected WORLD_SIZE"),
        ({"RANK": "-1"}, "expected RANK"),
        ({"RANK": "1"}, "below the number of processes, got .*rank=1, world_size=1"),
        ({"WORLD_SIZE": "0"}, "below the number of processes"),
        ({"LOCAL_RANK": "3"}, "below the number of processes"),
    ],
)
def test_ranks_that_torchrun_has_not_set_are_named(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], words: str | None
) -> None:
    for name, value in {**TORCHRUN, **changes}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    if words is None:
        assert launched_group() == ALONE
        return
    with pytest.raises(UserError, match=f"{words}.*; start with torchrun, or unset TORCHELASTIC_RUN_ID"):
        launched_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes over gloo leave behind."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(write_mura(folder / "data", {"train": 12, "valid": 6}), folder / "copy")
    for image in (folder / "copy").rglob("*.png"):
        os.utime(image, (1, 1))
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "tests.base_models.two_processes", str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr
    return folder


def test_two_processes_get_the_gradient_of_one(folder: Path) -> None:
    expected, order = gradients(ALONE)
    of_ranks = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for found in of_ranks:
        assert set(found["found"]) == set(expected)
        for name, gradient in expected.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(found["found"][name], gradient, rtol=1e-4, atol=1e-5 * scale)
    assert sorted(of_ranks[0]["seen"] + of_ranks[1]["seen"]) == sorted(order) == list(range(24))
    assert [found["exchanged"] for found in of_ranks] == [("from 0", [0, 1])] * 2


def test_fits_divided_between_processes_are_bit_equal(folder: Path, tmp_path: Path) -> None:
    train_ensemble(open_dataset(folder / "data"), SMALL, tmp_path)
    _assert_bit_equal(tmp_path, folder / "fits")


def _assert_bit_equal(run: Path, other: Path) -> None:
    """Two runs have the same weights and tables, and nothing unfinished lies about."""
    for file in sorted((run / "predictions").iterdir()):
        assert file.read_bytes() == (other / "predictions" / file.name).read_bytes()
    weights = sorted(run.glob("members/*/*.safetensors"))
    assert weights
    for file in weights:
        ours, theirs = load_tensors(file)[0], load_tensors(other / file.relative_to(run))[0]
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not list(other.glob("members/*/*.epoch*"))


def test_ddp_makes_a_run(folder: Path) -> None:
    assert len(load_members(folder / "ddp")) == 2
    table = Predictions.load(folder / "ddp" / "predictions" / "train.npz")
    assert np.isfinite(table.logits).all()
    fits = json.loads((folder / "ddp" / "training.json").read_text())["fits"]["one"]
    assert all(len(fit["epoch_losses"]) == 2 and 0 <= fit["inner_score"]["auroc"] <= 1 for fit in fits)


def test_stopped_ddp_processes_resume_to_the_same_bits(folder: Path) -> None:
    _assert_bit_equal(folder / "ddp", folder / "stopped")
    for rank in range(2):
        before, after = torch.load(folder / f"{rank}.pt", weights_only=True)["trained"]
        assert 0 < before < after  # one epoch of one fit, then its second and both of the other fold


def _of_rank(folder: Path, rank: int, name: str) -> Any:
    return torch.load(folder / f"{rank}.pt", weights_only=True)[name]


def test_an_error_of_one_process_is_raised_in_all(folder: Path) -> None:
    notes = [f"rank 1, on {platform.node()}"]
    for rank in range(2):
        expected = []
        for failing, told in ((0, []), (1, notes), (0, [])):
            words = f"rank {failing}"
            local = ("_OnlyHere", words) if rank == failing else ("RuntimeError", f"_OnlyHere: {words}")
            everywhere = (("UserFileExistsError", words), ("LookupError", words))
            expected += [(*of, told) for of in (*everywhere, local)]
        assert _of_rank(folder, rank, "told") == expected


def test_only_the_first_process_opens_the_cache_and_the_others_map_it(folder: Path) -> None:
    assert [_of_rank(folder, rank, "opened") for rank in range(2)] == [1, 0]
    assert len(list((folder / "fits" / "image_cache").iterdir())) == 1
    for rank in range(2):
        seen, none, other_data = _of_rank(folder, rank, "refused")
        assert seen == ""
        assert f"expected {folder / 'caches' / 'none'} on a disk that the processes of all" in none
        assert "got other studies, labels or images" in other_data
    assert not (folder / "caches" / "none").exists()


def test_only_waiting_for_fits_has_a_long_timeout(folder: Path) -> None:
    own, long, shutdown = _of_rank(folder, 0, "limits")
    assert own == torch.distributed.default_pg_timeout.total_seconds() <= 3600
    assert long > 7 * 24 * 3600
    assert shutdown < 60


def test_a_process_does_not_wait_for_one_that_has_ended(folder: Path) -> None:
    sentence, all_ended = torch.load(folder / "alone.pt", weights_only=True)
    assert sentence.startswith("expected all processes of torchrun to run to the end, got one that ended")
    assert all_ended == "False"
