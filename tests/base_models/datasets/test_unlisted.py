import os
from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from base_models.datasets.unlisted import unlisted_files
from tests.base_models.trees import picture, save_picture, write_mura


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


@pytest.mark.parametrize("names", ["{root}/img/{name}", "{link}/img/{name}", "alias/{name}", "view-{name}"])
@pytest.mark.parametrize("named", [".", "{root}", "{link}"])
def test_files_listed_under_another_name_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, named: str
) -> None:
    root, link = tmp_path / "data", tmp_path / "link"
    link.symlink_to(root)
    rows = ["path,study_id,patient_id,body_part,label"]
    for number in range(8):
        name = f"{number}.png"
        save_picture(root / "img" / name, picture(number))
        (root / f"view-{name}").symlink_to(Path("img") / name)
        rows.append(f"{names.format(root=root, link=link, name=name)},s{number},p{number},KNEE,{number % 2}")
    (root / "alias").symlink_to("img")
    (root / "studies.csv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(root)
    folder = Path(named.format(root=root, link=link))
    assert len(open_dataset(folder, check=False).studies) == 8
    assert _unlisted(folder) == []
    for path in ("img/8.png", "view-9.png", "img/notes.txt"):
        (root / path).write_bytes(b"x")
    expected = ["img/8.png", "img/notes.txt", "view-9.png"]
    if names.startswith("view"):  # no listed image has its name in the folder of the notes
        expected.remove("img/notes.txt")
    assert _unlisted(folder) == expected


def test_images_are_not_looked_at_where_nothing_is_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_mura(tmp_path / "MURA-v1.1")
    dataset = open_dataset(root)
    images = {str(path) for study in dataset.studies for path in study.image_paths}
    for name in ("lstat", "stat", "readlink"):
        real = getattr(os, name)

        def look(path, *args, real=real, **kwargs):
            assert str(path) not in images
            return real(path, *args, **kwargs)

        monkeypatch.setattr(os, name, look)
    assert unlisted_files(root, map(Path, sorted(images))) == []


def test_names_that_are_no_utf_8_can_be_written(tmp_path: Path) -> None:
    root = write_mura(tmp_path / "MURA-v1.1")
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/train/\xff.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes only names in UTF-8")
    assert _unlisted(root) == ["train/\\xff.png"]
