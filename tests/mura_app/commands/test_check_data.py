import json
import os
import re
from pathlib import Path

import pytest

from mura_app.main import run_command
from tests.base_models.trees import picture, save_picture, write_mura


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_mura(tmp_path / "MURA-v1.1", {"train": 6, "valid": 6})
    bad = sorted(root.glob("train/*/*/*/*.png"))[0]
    bad.write_bytes(b"")
    save_picture(root / "train" / "<b>stray.png", picture(77))
    return root


def test_the_document_is_all_there_is_on_standard_output(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["check-data", str(root), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert len(document["problems"]["unreadable"]) == 1


def test_the_table_and_the_page_show_what_was_found(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "check.html"
    assert run_command(["check-data", str(root), "--html", str(page)]) == 0
    text = capsys.readouterr().out
    assert "Files that cannot be read: 1" in text
    assert "XR_ELBOW" in text
    assert "Views of a study: 1 in " in text
    assert (
        "Images: width 30 to 30 pixels (median 30), height 40 to 40 pixels (median 40); stored as L (" in text
    )
    html = page.read_text()
    assert "&lt;b&gt;stray.png" in html  # names of files are text, never markup
    assert "<b>" not in html
    assert "data:image/jpeg;base64," in html
    assert html.count("<figure>") == 4  # two body parts, two classes
    assert not re.search(r'(src|href)="(?!data:)', html)

    page.write_text("<!doctype html>something else")
    assert run_command(["check-data", str(root), "--html", str(page)]) == 2
    assert "already exists; choose another --html, or add --overwrite" in capsys.readouterr().err
    assert page.read_text() == "<!doctype html>something else"
    assert run_command(["check-data", str(root), "--html", str(page), "--overwrite"]) == 0
    table = root / "studies.csv"
    table.write_text("path,label\n")
    assert run_command(["check-data", str(root), "--html", str(table), "--overwrite"]) == 2
    assert "expected a page to replace" in capsys.readouterr().err
    assert table.read_text() == "path,label\n"
    assert page.read_text() == html


def test_names_that_are_not_utf_8_are_shown(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = root / "train" / "<b>stray.png"
    stray.rename(os.fsdecode(os.fsencode(root) + b"/train/stray\xff.png"))
    page = tmp_path / "check.html"
    assert run_command(["check-data", str(root), "--html", str(page)]) == 0
    for text in (capsys.readouterr().out, page.read_text(encoding="utf-8")):
        assert "stray\\xff.png" in text


def test_strict_ends_with_status_2_where_something_is_wrong(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["check-data", str(root), "--strict"]) == 2
    assert "expected a data set without faults" in capsys.readouterr().err


def test_images_in_both_splits_are_said_and_end_a_strict_check(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_picture(sorted(root.glob("train/*/*/*/*.png"))[0], picture(5))  # nothing else is wrong any more
    assert run_command(["check-data", str(root), "--strict"]) == 0
    assert "The same image in both splits: 0\n" in capsys.readouterr().out
    learned = next(root.glob("train/*/*/*_positive/image1.png"))
    tested = next(root.glob("valid/*/*/*_positive/image1.png"))
    pixels = picture(6)
    save_picture(learned, pixels)
    pixels[0, 0] ^= 1
    save_picture(tested, pixels)
    assert run_command(["check-data", str(root), "--strict"]) == 2
    names = " ≈ ".join(str(path.relative_to(root)) for path in (learned, tested))
    text = capsys.readouterr().out
    assert f"The same image in both splits: 1\n  {names} (two patients)\n" in text


def test_a_page_that_cannot_be_written_is_refused_before_the_reading(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the images were read")

    monkeypatch.setattr("base_models.audit.audit_dataset", read)
    (tmp_path / "file").write_text("something")
    for page in (tmp_path, tmp_path / "file" / "page.html"):
        assert run_command(["check-data", str(root), "--html", str(page), "--overwrite"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1


def test_a_folder_without_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["check-data", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
