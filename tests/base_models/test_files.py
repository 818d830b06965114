from pathlib import Path

import pytest

from base_models.files import read_json, write_atomically, write_json


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    write_json(path, {"a": [1, "é"]})

    def fail(file: Path) -> None:
        file.write_text("half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_atomically(path, fail)
    assert read_json(path) == {"a": [1, "é"]}
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_nan_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", float("nan"))
    (tmp_path / "file.json").write_text("{")
    with pytest.raises(ValueError, match=r"expected a JSON document in .*file\.json"):
        read_json(tmp_path / "file.json")
