import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mura_env import Predictions
from tests.mura_env.tables import random_table
from tests.mura_env.test_predictions import assert_equal


def test_save_and_load(tmp_path: Path) -> None:
    for columns in ({}, {"difficulty": np.linspace(0, 1, 60)}):
        table = random_table(study_ids=[f"Aufnahme-ä{i}" for i in range(60)], **columns)
        table.save(tmp_path / "table.npz")
        assert_equal(Predictions.load(tmp_path / "table.npz"), table)
    assert [path.name for path in tmp_path.iterdir()] == ["table.npz"]


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    random_table().save(tmp_path / "first.npz")
    random_table().save(tmp_path / "second.npz")
    assert (tmp_path / "first.npz").read_bytes() == (tmp_path / "second.npz").read_bytes()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a predictions file, got (no file|the folder)"):
        Predictions.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="expected an existing folder"):
        random_table().save(tmp_path / "none" / "table.npz")


def _saved_columns(tmp_path: Path) -> dict[str, np.ndarray]:
    random_table().save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("kind", ["empty", "text", "array", "truncated", "flipped", "zip"])
def test_foreign_and_damaged_files(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.npz"
    random_table().save(path)
    whole = path.read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    text = io.BytesIO()
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("readme.txt", "hello")
    damage = bytearray(whole)
    damage[200] ^= 255
    contents = {
        "empty": b"",
        "text": b"study_id,label\n",
        "array": array.getvalue(),
        "truncated": whole[: len(whole) // 2],
        "flipped": bytes(damage),
        "zip": text.getvalue(),
    }
    path.write_bytes(contents[kind])
    with pytest.raises(ValueError, match="expected a predictions table") as error:
        Predictions.load(path)
    assert "\n" not in str(error.value)
    assert "pickle" not in str(error.value)


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    columns = _saved_columns(tmp_path)
    columns["study_ids"] = columns["study_ids"].astype(object)
    np.savez(tmp_path / "bad.npz", **columns)
    with pytest.raises(ValueError, match=r"cannot be read \(Object arrays cannot be loaded"):
        Predictions.load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": None}, "got no format mark"),
        ({"format": np.array("other")}, "got the format 'other'"),
        ({"labels": None}, "got no column 'labels'"),
        ({"extra": np.zeros(3)}, "got the column 'extra'"),
        ({"model_names": np.zeros(3)}, "got model_names of dtype float64"),
        ({"labels": np.full(60, 9)}, r"bad.npz: expected labels in \[0, 2\), got 9 in row 0"),
    ],
)
def test_other_contents(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    columns = {**_saved_columns(tmp_path), **change}
    np.savez(tmp_path / "bad.npz", **{name: value for name, value in columns.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        Predictions.load(tmp_path / "bad.npz")
