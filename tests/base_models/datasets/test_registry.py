from pathlib import Path

import pytest

from base_models.datasets import list_datasets, open_dataset


def test_the_kinds_are_listed() -> None:
    assert list_datasets() == ["FracAtlas", "MURA", "studies.csv"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"file is not a folder"):
        open_dataset(tmp_path / "file")


def test_a_folder_of_no_known_kind_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FracAtlas: dataset\.csv.*MURA: train/"):
        open_dataset(tmp_path)
