"""What is a pipe, which a reader would wait for without end, is refused wherever a file is read."""

import os
from pathlib import Path

import pytest

from agents import load_agent, make_agent
from base_models.datasets import open_dataset
from base_models.networks.pretrained import read_state_dict
from mura_app.predictions_io import load_table
from mura_env import Predictions
from mura_env.errors import UserFileNotFoundError


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (Predictions.load, "a.npz"),
        (Predictions.from_csv, "a.csv"),
        (load_table, "a.csv"),
        (load_table, "a.npz"),
        (read_state_dict, "a.pth"),
        (read_state_dict, "a.safetensors"),
    ],
)
def test_a_pipe_is_named(tmp_path: Path, read: object, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserFileNotFoundError, match=f"got the pipe {tmp_path / name}; name a file"):
        read(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_a_pipe_in_a_saved_agent_is_named(tmp_path: Path, name: str) -> None:
    table = Predictions.from_arrays([[[0.0, 1.0]], [[1.0, 0.0]]] * 5, [1, 0] * 5)
    make_agent("static").fit(table).save(tmp_path / "agent")
    file = tmp_path / "agent" / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserFileNotFoundError, match=f"got the pipe {file}"):
        load_agent(tmp_path / "agent")


def test_a_pipe_in_place_of_the_table_of_a_data_set_is_no_table(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "studies.csv")
    with pytest.raises(ValueError, match=r"studies\.csv"):
        open_dataset(tmp_path)
