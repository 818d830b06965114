import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mura_app.data_check import check_page_path, write_audit_page
from mura_app.data_check.page import SHOWN, THUMBNAIL, render_audit_page
from mura_app.data_check.terminal import show_audit
from tests.base_models.trees import picture, save_picture
from tests.mura_app.data_check.documents import document, incomplete, pair
from tests.mura_app.report.hostile import hostile


def _section(page: str, name: str) -> str:
    (found,) = re.findall(rf'<section aria-labelledby="{name}-heading">(.*?)</section>', page, re.DOTALL)
    return " ".join(found.split())


def test_a_pair_is_shown_with_both_images(tmp_path: Path) -> None:
    pixels = picture(0, shape=(200, 100))
    for name in ("a.png", "b.png"):
        save_picture(tmp_path / name, pixels)
    across = pair("a.png", "b.png", across_splits=True, opposite_labels=True)
    page = render_audit_page(
        document(tmp_path, duplicates_across_splits=[across], near_duplicates=[across, pair("a.png", "c")])
    )
    section = _section(page, "duplicates_across_splits")
    assert "The same image in both splits: 1<" in section
    assert "Among them 1 with opposite labels." in section
    assert "a.png ≈ b.png (opposite labels)" in section
    data = re.findall(r"base64,([^\"]+)", section)
    assert len(data) == 2
    square = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[0]))))
    assert square.shape == (THUMBNAIL, THUMBNAIL)
    near = _section(page, "near_duplicates")
    assert "Nearly the same image twice: 2<" in near
    assert "Among them 1 across the splits, shown above; 1 with opposite labels." in near
    assert near.count("<img") == 1  # the pair across the splits is shown once, and c is no file
    assert page.index("The same image in both splits") < page.index('class="nothing"')


def test_only_the_first_of_a_long_list_are_shown() -> None:
    page = render_audit_page(document(constant=[f"{i}.png" for i in range(SHOWN + 1)]))
    section = _section(page, "constant")
    assert section.count('class="found"') == SHOWN
    assert f"The first {SHOWN} are shown" in section
    assert "are shown" not in _section(render_audit_page(document(constant=["0.png"] * SHOWN)), "constant")


def test_what_was_not_found_is_one_line() -> None:
    page = render_audit_page(document(constant=["0.png"]))
    line = " ".join(re.findall(r'<p class="nothing">(.*?)</p>', page, re.DOTALL)[0].split())
    assert line.startswith("Not found: the same image in both splits; ")
    assert "images of one grey" not in line
    assert "Images of one grey: 1" in page
    assert "Files that cannot be read" not in page


@pytest.mark.parametrize("found", [document(), incomplete()])
def test_the_verdict_and_a_list_that_is_not_complete_stand_at_the_top(found: dict[str, Any]) -> None:
    page = render_audit_page(found)
    header = " ".join(page[: page.index("</header>")].split())
    assert ("Nothing was found that should stop a training." in header) is found["ok"]
    assert ("44,851 were found, 1 across the splits" in header) is not found["near_duplicates_complete"]


def test_names_are_text_and_never_markup() -> None:
    page = render_audit_page(document(unlisted=["<script>.png"], contradictions=["a & b"]))
    assert "&lt;script&gt;.png" in page
    assert "<script>" not in page
    assert "a &amp; b" in page


def test_where_there_is_no_shortcut_figure_the_reason_is_shown() -> None:
    assert "<td>0.67</td>" in _section(render_audit_page(document()), "shortcuts")
    page = render_audit_page({**document(), "shortcuts": {"reason": "fewer than 5 test studies"}})
    assert "No figure: fewer than 5 test studies." in _section(page, "shortcuts")


def test_the_page_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "page.html"
    write_audit_page(path, document())
    assert path.read_text(encoding="utf-8") == render_audit_page(document())
    assert list(path.parent.iterdir()) == [path]


def test_a_path_that_no_page_can_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("<!DOCTYPE html>\n<html>")
    check_page_path(tmp_path / "new" / "page.html", overwrite=False)
    check_page_path(file, overwrite=True)
    with pytest.raises(FileExistsError, match=f"{file} already exists; choose another --html"):
        check_page_path(file, overwrite=False)
    os.mkfifo(pipe := tmp_path / "pipe.html")
    with pytest.raises(FileExistsError, match=r"got the pipe .*pipe\.html: name a file"):
        check_page_path(pipe, overwrite=True)
    pipe.unlink()
    with pytest.raises(FileExistsError, match=f"got the folder {tmp_path}: name a file"):
        check_page_path(tmp_path, overwrite=True)
    with pytest.raises(OSError, match=f"may not write to {file}: choose another --html"):
        check_page_path(file / "new" / "page.html", overwrite=True)
    assert sorted(tmp_path.iterdir()) == [file]
    file.write_text("path,label\n")
    with pytest.raises(FileExistsError, match="expected a page to replace"):
        check_page_path(file, overwrite=True)


def test_a_folder_that_may_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the administrator may write to every folder, so that permissions cannot show it
    monkeypatch.setattr("mura_app.data_check.page.os.access", lambda folder, mode: folder != tmp_path)
    with pytest.raises(OSError, match=f"may not write to {tmp_path}: choose another"):
        check_page_path(tmp_path / "new" / "page.html", overwrite=False)


def test_attacks_in_every_name_are_text_on_the_page_and_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = document(
        unlisted=["<script>.png", "[/red].png"],
        contradictions=["a & b"],
        unreadable=[{"path": "x.png", "reason": "damaged"}],
        near_duplicates=[pair("p.png", "q.png")],
    )
    kept = frozenset({"train", "test"})
    attacked = hostile(found, kept=kept)
    page = render_audit_page(attacked)
    own = render_audit_page(found)
    for tag in ("<script", "<style", "<img", "<svg", "<b>"):
        assert page.count(tag) == own.count(tag), tag
    assert "default-src &#39;none&#39;" in page
    show_audit(attacked)
    shown = capsys.readouterr().out
    assert "$\\bad$ US$1 or US$2" in shown
    show_audit(found)
    assert "  [/red].png\n" in capsys.readouterr().out
    assert not set(shown) & set("\x1b\x07\x00\x7f\x9b\u202e\u2028\ud800")
