import json
import os
import socket
from pathlib import Path

import pytest

from mura_env.errors import UserFileExistsError, UserFileNotFoundError
from mura_env.utils.files import read_json, regular_file, write_json


def test_a_document_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "document.json"
    write_json(path, {"a": [1, "é", None, 0.1]})
    assert read_json(path, "a run") == {"a": [1, "é", None, 0.1]}
    assert [file.name for file in path.parent.iterdir()] == ["document.json"]


def test_names_that_are_not_utf_8_come_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"\\image\xff\xc3\xa9.png")
    write_json(tmp_path / "document.json", {name: [name]})
    assert read_json(tmp_path / "document.json", "names") == {name: [name]}
    assert "é.png" in (tmp_path / "document.json").read_text(encoding="utf-8")


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text()) == {"value": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[1]", b'{"a": NaN}', b'{"a": 1e999}', b'{"a":' * 100_000]
)
def test_damaged_json_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a run, got .*config\.json"):
        read_json(path, "a run")


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a run, got no file"):
        read_json(tmp_path / "config.json", "a run")


def _special(folder: Path) -> dict[str, Path]:
    """What may stand in the place of a file, by its name in messages."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(folder / "socket"))
    names = {name: folder / name for name in ("folder", "pipe", "socket")}
    return names | {"device": Path("/dev/null")}


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    for name, path in _special(tmp_path).items():
        for read in (regular_file, read_json):
            with pytest.raises(
                UserFileNotFoundError, match=f"expected a run, got the {name} {path}; name a file"
            ):
                read(path, "a run")
    with pytest.raises(UserFileNotFoundError, match="got the pipe"):
        regular_file(tmp_path / "link", "a run")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("{}")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in ("none", "broken", "circle", "file/below"):
        with pytest.raises(UserFileNotFoundError, match=f"expected a run, got no file .*{name}; check"):
            regular_file(tmp_path / name, "a run")
    (tmp_path / "to file").symlink_to(tmp_path / "file")
    for name in ("file", "to file"):
        assert regular_file(str(tmp_path / name), "a run") == tmp_path / name


def test_no_file_takes_the_place_of_a_pipe_a_device_or_a_folder(tmp_path: Path) -> None:
    for name, path in _special(tmp_path).items():
        with pytest.raises(UserFileExistsError, match=f"expected a file to write, got the {name} {path}"):
            write_json(path, {})
        assert not path.is_file()
