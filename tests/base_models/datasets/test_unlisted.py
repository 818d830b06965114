import os
from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from base_models.datasets.unlisted import unlisted_files
from tests.base_models.trees import write_mura


def _unlisted(root: Path) -> list[str]:
    dataset = open_dataset(root, check=False)
    return unlisted_files(root, [path for study in dataset.studies for path in study.image_paths])


@pytest.mark.parametrize("csvs", [True, False])
def test_what_looks_like_a_radiograph_or_lies_beside_one_is_named(tmp_path: Path, csvs: bool) -> None:
    root = write_mura(tmp_path / "MURA-v1.1", csvs=csvs)
    assert _unlisted(root) == []
    study = next(root.glob("train/*/*/study1_*"))
    wanted = [
        *(study / name for name in ("image7.WEBP", "image8.pgm", "IM0001", "image9.png.bak", "notes.txt")),
        root / "elsewhere" / "IM0002",
        root / "elsewhere" / "1.2.840.113619.2.5.78",
        root / "extra.dcm",
    ]
    for path in [*wanted, study / "._image1.png", root / ".git" / "HEAD", root / "README", root / "more.txt"]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert _unlisted(root) == sorted(str(path.relative_to(root)) for path in wanted)
    # The same of a folder named with a path that goes back and forth.
    assert _unlisted(root.parent / "MURA-v1.1" / ".." / "MURA-v1.1") == _unlisted(root)


def test_links_to_elsewhere_are_followed_and_links_back_are_not(tmp_path: Path) -> None:
    root = write_mura(tmp_path / "MURA-v1.1")
    part = root / "train" / "XR_WRIST"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "more.png").write_bytes(b"x")
    for name, target in (("back", root), ("up", tmp_path), ("again", tmp_path / "elsewhere")):
        (part / name).symlink_to(target)
    assert _unlisted(root) == ["train/XR_WRIST/more.png"]


def test_names_that_are_no_utf_8_can_be_written(tmp_path: Path) -> None:
    root = write_mura(tmp_path / "MURA-v1.1")
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/train/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    assert _unlisted(root) == ["train/\\xff.png"]
