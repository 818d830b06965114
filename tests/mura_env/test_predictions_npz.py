import io
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mura_env import Predictions
from mura_env.errors import UserError
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
    with pytest.raises(ValueError, match=r"study_ids\.npy, which is no array of numbers or text"):
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


def _npy(header: str, values: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """Return an array's file with a header of any text."""
    text = header.encode() + b"\n"
    return (
        b"\x93NUMPY"
        + version
        + len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
        + text
        + values
    )


def _described(descr: str, shape: str) -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"raw bytes", "labels.npy, which is no array"),
        (_npy("-" * 60_000 + "1"), "labels.npy, which is no array"),
        (_npy("(" * 60_000 + ")" * 60_000, version=b"\x02\x00"), "labels.npy, which is no array"),
        (_npy(_described("'<i8'", "(" * 90 + ")" * 90)), "labels.npy, which is no array"),
        (_npy(_described("'|O'", "(60,)"), bytes(480)), "labels.npy, which is no array"),
        (_npy(_described("[('a', '<i8')]", "(60,)"), bytes(480)), "labels.npy, which is no array"),
        (_npy(_described("'<i8'", "(1000000000000000000,)"), bytes(480)), "of another length than its shape"),
        (_npy(_described("'<i8'", "(-60,)"), bytes(480)), "labels.npy, which is no array"),
        (_npy(_described("'<i3'", "(60,)"), bytes(180)), "cannot be read"),
        (_npy(_described("'<U0'", "(60,)")), "."),
        (_npy(_described("'<U1'", "(60,)"), b"\xff" * 240), "characters that there are not"),
        (_npy(_described("'>U1'", "()"), b"\xff" * 4), "characters that there are not"),
        (_npy(_described("'<i8'", "(" + "1, " * 30 + ")"), bytes(8)), r"expected one of labels|, got"),
        (_npy(_described("'<i8'", "(60,)"), bytes(480))[:-1], "of another length than its shape"),
    ],
)
def test_hostile_arrays_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    table = _saved_columns(tmp_path)
    with zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for name, column in {**table, "labels": content}.items():
            if isinstance(column, bytes):
                archive.writestr(f"{name}.npy", column)
            else:
                with archive.open(f"{name}.npy", "w") as file:
                    np.save(file, column)
    with pytest.raises(UserError, match=r"bad\.npz") as error:
        Predictions.load(tmp_path / "bad.npz")
    assert re.search(message, str(error.value))


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["logits", "unknown"])
def test_nothing_compressed_is_unpacked(tmp_path: Path, method: int, name: str) -> None:
    _saved_columns(tmp_path)
    path = tmp_path / "good.npz"
    zeros = _npy(_described("'<f4'", "(10000, 10, 50)"), bytes(20_000_000))
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "bad.npz", "w") as archive:
        for member in whole.infolist():
            if member.filename != f"{name}.npy":
                archive.writestr(member, whole.read(member))
        archive.writestr(f"{name}.npy", zeros, compress_type=method, compresslevel=1)
    del zeros
    tracemalloc.start()
    with pytest.raises(UserError, match=r"logits\.npy, which is compressed|the column 'unknown'"):
        Predictions.load(tmp_path / "bad.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    _saved_columns(tmp_path)
    content = bytearray((tmp_path / "good.npz").read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # local headers and the directory
        for found in re.finditer(re.escape(signature), bytes(content)):
            content[found.start() + flags] |= 1
    (tmp_path / "bad.npz").write_bytes(content)
    with pytest.raises(UserError, match="compressed or encrypted"):
        Predictions.load(tmp_path / "bad.npz")


@settings(max_examples=100)
@given(data=st.data())
def test_damage_anywhere_is_refused_or_harmless(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    table, path = random_table(), folder / "damaged.npz"
    table.save(path)
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02", 0, content.index(b"PK\x01\x02") + 4)
    place = st.integers(0, len(content) - 1) | st.integers(directory, len(content) - 1)
    for where in data.draw(st.lists(place, min_size=1, max_size=4)):
        content[where] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        loaded = Predictions.load(path)
    except UserError:
        return
    assert_equal(loaded, table)
