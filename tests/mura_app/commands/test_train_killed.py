"""The command `train`, killed with SIGKILL and gone on with, ends with the same networks and tables."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from base_models.storage import load_tensors
from mura_app.main import run_command
from mura_env import Predictions
from tests.base_models.trees import write_mura

DECODED = "image_cache/*/manifest.json"
AN_EPOCH = "members/*/fold*.epoch.safetensors"
A_SECOND_FIT = "members/*/fold1.safetensors"
TABLES = "predictions/train.npz"


def _arguments(data: Path, out: Path, processes: int) -> list[str]:
    ensemble = {"folds": 2, "jobs": processes, "training.batch-size": 4, "training.augmentation": "standard"}
    if processes == 1:
        ensemble["training.loader-processes"] = 0  # whose start takes longer than all else
    options = [word for name, value in ensemble.items() for word in (f"--ensemble.{name}", str(value))]
    members = ["--members", "attention_cnn_se:2:16:4"]
    return ["train", "--data", str(data), "--out", str(out), *options, *members, "--json"]


def _kill_once_there_is(pattern: str, out: Path, arguments: list[str]) -> None:
    """Start the command and kill it as soon as a file is there that was not before."""
    before = set(out.glob(pattern))
    with subprocess.Popen(
        [sys.executable, "-m", "mura_app", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while process.poll() is None and not set(out.glob(pattern)) - before:
            time.sleep(0.001)  # from the first table to the last file are some milliseconds
        process.kill()
        _, messages = process.communicate()
    assert process.returncode == -signal.SIGKILL, messages.decode()
    assert not (out / "training.json").exists()


@pytest.mark.slow  # `base_models/training/test_fit.py` has the fit alone
@pytest.mark.parametrize(
    ("processes", "moments"), [(1, [AN_EPOCH]), (2, [DECODED, AN_EPOCH, A_SECOND_FIT, TABLES])]
)
def test_a_killed_command_goes_on_to_the_same_bits(
    tmp_path: Path, processes: int, moments: list[str]
) -> None:
    data = write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run_command(_arguments(data, whole, 1)) == 0
    arguments = _arguments(data, killed, processes)
    for number, moment in enumerate(moments):
        _kill_once_there_is(moment, killed, arguments + (["--resume"] if number else []))
    assert run_command([*arguments, "--resume"]) == 0

    weights = sorted(file.relative_to(whole) for file in whole.glob("members/*/*"))
    assert weights == sorted(file.relative_to(killed) for file in killed.glob("members/*/*"))
    for file in weights:
        if file.suffix == ".safetensors":
            expected, resumed = (load_tensors(run / file)[0] for run in (whole, killed))
            assert {name: tensor.numpy().tobytes() for name, tensor in expected.items()} == {
                name: tensor.numpy().tobytes() for name, tensor in resumed.items()
            }
    for file in (whole / "predictions").glob("*.npz"):
        expected, resumed = (Predictions.load(run / "predictions" / file.name) for run in (whole, killed))
        np.testing.assert_array_equal(expected.logits, resumed.logits)
        assert list(expected.study_ids) == list(resumed.study_ids)
