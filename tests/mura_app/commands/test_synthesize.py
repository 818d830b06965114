"""`mura synthesize`: its counts, compared with the files; and what it refuses."""

import json
from pathlib import Path

import pytest

from base_models.datasets import open_dataset
from mura_app.main import run_command


def _counts(out: Path) -> dict[str, int]:
    folders = {path.parent for path in out.rglob("*.png")}
    return {
        "patients": len({folder.parent.name for folder in folders}),
        "studies": len(folders),
        "images": len(list(out.rglob("*.png"))),
    }


def test_the_document_is_all_there_is_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "tree"
    assert run_command(["synthesize", "--out", str(out), "--patients", "5", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"path": str(out / "MURA-v1.1"), **_counts(out)}
    assert "drawing radiographs: 5 of 5" in captured.err
    assert open_dataset(out, check=False).contradictions == ()


def test_the_seed_decides_and_the_current_folder_can_be_filled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {}
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert run_command(["synthesize", "--out", ".", "--patients", "2", "--seed", str(seed)]) == 0
        files[name] = {path.name: path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()}
        counts = _counts(Path.cwd())
        assert (
            f"{counts['images']} radiographs in {counts['studies']} studies of 2 patients in"
            in capsys.readouterr().err
        )
    assert files["first"] == files["again"] != files["other"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--patients", "1"], "expected patients in the range [2, 1000000], got 1"),
        (["--seed", "-1"], "expected seed in the range [0, 1000000000], got -1"),
        (["--out", "{full}"], "expected an empty or absent folder to write to"),
    ],
)
def test_what_it_refuses_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    words = ["--out", str(tmp_path / "tree"), *(word.format(full=full) for word in options)]
    assert run_command(["synthesize", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "notes.txt"]
