import json
from pathlib import Path

import pytest
import torch

from base_models import load_members
from mura_app.main import run_command
from tests.base_models.published import Ensemble


def test_a_checkpoint_becomes_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Ensemble().state_dict(), tmp_path / "v1.pth")
    command = ["import-checkpoint", str(tmp_path / "v1.pth"), "--out", str(tmp_path / "run")]
    assert run_command([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["members"] == dict.fromkeys(["model1", "model2", "model3"], "attention_cnn")
    assert len(load_members(tmp_path / "run")) == 3
    assert run_command(command) == 2
    assert "already holds members" in capsys.readouterr().err
    assert run_command([*command, "--overwrite"]) == 0
    assert "model1 (attention_cnn)" in capsys.readouterr().err


def test_a_wrong_file_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v1.pth").write_bytes(b"nothing")
    for name in ("v1.pth", "none.pth"):
        assert run_command(["import-checkpoint", str(tmp_path / name), "--out", str(tmp_path / "run")]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert name in captured.err


def test_a_trained_run_does_not_get_other_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Ensemble().state_dict(), tmp_path / "v1.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    command = ["import-checkpoint", str(tmp_path / "v1.pth"), "--out", str(tmp_path / "run"), "--overwrite"]
    assert run_command(command) == 2
    assert "expected a folder without a run" in capsys.readouterr().err
    assert not (tmp_path / "run" / "members").exists()


def test_a_file_or_dangling_link_is_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(Ensemble().state_dict(), tmp_path / "v1.pth")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        out = tmp_path / name
        assert run_command(["import-checkpoint", str(tmp_path / "v1.pth"), "--out", str(out)]) == 2
        assert str(out) in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()
