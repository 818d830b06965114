import sys
from pathlib import Path

import pytest

from base_models import load_members
from base_models.datasets import list_datasets
from base_models.members import load_trained_members
from mura_app.commands.train import parse_command
from mura_app.main import run_command
from tests.base_models.trees import write_mura

TINY = ["--ensemble.folds", "2", "--ensemble.jobs", "1", "--ensemble.training.batch-size", "4", "--json"]


def test_members_and_initial_weights_are_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4})
    before = write_mura(tmp_path / "before" / "MURA-v1.1", {"train": 7, "valid": 4}, first=101)
    command = ["train", "--data", str(data), *TINY]
    members = ["--members", "attention_cnn_se:1:16:1"]
    first = ["train", "--data", str(before), *TINY, "--out", str(tmp_path / "first"), *members]
    assert run_command(first) == 0
    weights = tmp_path / "first" / "members" / "1-attention_cnn_se" / "fold0.safetensors"
    second = [*command, "--out", str(tmp_path / "second"), "--init-weights", f"attention_cnn_se={weights}"]
    assert run_command([*second, "--members", "attention_cnn_se:1:16:1,mobilenet_v3_small:1:32:1"]) == 0
    names = [member.config.network for member in load_trained_members(tmp_path / "second")]
    assert names == ["attention_cnn_se", "mobilenet_v3_small"]
    assert len(load_members(tmp_path / "second")) == 4
    capsys.readouterr()
    again = [*command, "--out", str(tmp_path / "first"), *members, "--init-weights", str(weights)]
    assert run_command([*again, "--overwrite"]) == 2
    assert "choose another --out" in capsys.readouterr().err
    assert weights.is_file()
    less = write_mura(tmp_path / "less" / "MURA-v1.1", {"train": 6, "valid": 4}, first=101)
    own = ["--data", str(less), "--out", str(tmp_path / "third"), "--init-weights", str(weights)]
    assert run_command(["train", *TINY, *members, *own]) == 2
    assert "expected pretrained weights that have not seen these radiographs" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--preset", "demo", "--init-weights", "/nowhere.pth"],
            "got no file /nowhere.pth",
        ),
        (["--members", "alexnet:1:32"], "the network 'alexnet' takes, got 32"),
        (["--members", "timm:resnet10t:1:32"], "the library timm for the network 'timm:resnet10t'"),
        (["--ensemble.hard-examples", "/nowhere"], "expected an earlier run"),
        (["--preset", "demo", "--pretrained"], "leave --pretrained out"),
        (["--members", "resnet18", "--ensemble.members.0.network", "vgg11"], "got both; leave one of"),
    ],
)
def test_wrong_options_take_no_folder(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    words: str,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    data = write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4})
    out = tmp_path / "out"
    assert run_command(["train", "--data", str(data), "--out", str(out), *TINY, *options]) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.count("\n") == 1
    assert not out.exists()


def test_sizes_of_the_presets_members_stay_options() -> None:
    size = ["--ensemble.members.0.image-size", "40"]
    command = parse_command(["--data", "d", "--out", "o", "--preset", "demo", "--members", "resnet18", *size])
    (member,) = command.chosen_ensemble().members
    assert (member.network, member.image_size) == ("resnet18", 40)


def test_without_the_option_members_are_the_presets() -> None:
    command = parse_command(["--data", "d", "--out", "o", "--preset", "demo"])
    assert command.chosen_ensemble() == command.ensemble


@pytest.mark.parametrize("command", ["train", "run", "check-data"])
def test_the_help_names_every_kind_of_data_set(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command([command, "--help"])
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in list_datasets())
