from dataclasses import replace

import numpy as np
import pytest

from base_models.ensemble import weak_members
from base_models.presets import PRESETS
from base_models.training.checkpoint import Stopwatch
from base_models.training.fit import FitResult
from base_models.training.validation import Score
from mura_app.commands.member_options import choose_initial_weights, choose_members

FULL = PRESETS["full"]


def test_a_line_names_members_of_different_networks_sizes_and_epochs() -> None:
    chosen = choose_members(FULL, "attention_cnn:3, densenet121:1:224,resnet18:2:128:7,timm:resnet10t")
    assert [member.network for member in chosen.members] == [
        *["attention_cnn"] * 3, "densenet121", "resnet18", "resnet18", "timm:resnet10t",
    ]  # fmt: skip
    assert len({member.name for member in chosen.members}) == 7
    own = next(member for member in FULL.members if member.network == "attention_cnn")
    assert all(replace(member, name=own.name) == own for member in chosen.members[:3])
    densenet, first, second, last = chosen.members[3:]
    assert (densenet.image_size, densenet.epochs) == (224, FULL.members[3].epochs)
    assert all((member.image_size, member.epochs) == (128, 7) for member in (first, second))
    assert all(not member.options for member in (densenet, first, second, last))
    assert (chosen.training, chosen.folds) == (FULL.training, FULL.folds)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lenet:2", "got 'lenet'"),
        ("resnet18:many", "got 'resnet18:many'"),
        ("resnet18:0", "got 'resnet18:0'"),
        ("resnet18:1:2:3:4", "got 'resnet18:1:2:3:4'"),
        (" , ", "expected at least one member"),
    ],
)
def test_impossible_lines_are_refused(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_members(FULL, line)


def test_files_go_to_the_members_of_their_network() -> None:
    config = choose_members(FULL, "attention_cnn,resnet18,densenet121")
    chosen = choose_initial_weights(config, ["all.pth", "resnet18=r.pth"])
    assert [member.init_weights for member in chosen.members] == ["all.pth", "r.pth", "all.pth"]
    chosen = choose_initial_weights(config, ["resnet18=r.pth"], pretrained=True)
    assert [(member.init_weights, member.pretrained) for member in chosen.members] == [
        ("", False),
        ("r.pth", False),
        ("", True),
    ]
    with pytest.raises(ValueError, match="got some for 'resnet50'"):
        choose_initial_weights(config, ["resnet50=r.pth"])
    chosen = choose_initial_weights(config, ["/a=b.pth", "resnet18=c/d=e.pth"])
    assert [member.init_weights for member in chosen.members] == ["/a=b.pth", "c/d=e.pth", "/a=b.pth"]


@pytest.mark.parametrize(("line", "files"), [("attention_cnn,attention_cnn_se", []), ("resnet18", ["r.pth"])])
def test_pretrained_weights_for_no_member_are_refused(line: str, files: list[str]) -> None:
    with pytest.raises(ValueError, match="without a file of its own for --pretrained, got "):
        choose_initial_weights(choose_members(FULL, line), files, pretrained=True)


def test_members_far_below_the_best_on_inner_validation_are_left_out() -> None:
    areas = [(0.81, 0.79), (0.70, 0.90), (0.77, 0.74)]
    fits = [
        [FitResult(np.zeros((0, 2)), [], Stopwatch(), "", Score(0.5, area)) for area in of] for of in areas
    ]
    training = replace(FULL.training, inner_validation=0.1)
    three = replace(FULL, members=FULL.members[:3])
    weak = weak_members(replace(three, training=training, drop_below=0.04), fits)
    assert list(weak) == [FULL.members[2].name]
    assert "0.755" in weak[FULL.members[2].name]
    assert "0.800" in weak[FULL.members[2].name]
    assert weak_members(replace(three, training=training, drop_below=0.05), fits) == {}
    assert weak_members(three, fits) == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"resnet18:1:{10**20}", "whole numbers from 1"),
        (f"resnet18:{'9' * 5000}", "whole numbers from 1"),
        ("resnet18:999999999", "expected at most 1000 members"),
    ],
)
def test_numbers_with_a_digit_too_many_are_refused_at_once(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_members(FULL, line)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["resnet18="], "for 'resnet18', got an empty name"),
        ([""], "for all members, got an empty name"),
        (["a.pth", "b.pth"], "one file of pretrained weights for all members, got a.pth and b.pth"),
        (["resnet18=a.pth", "resnet18=b.pth"], "for 'resnet18', got a.pth and b.pth"),
    ],
)
def test_no_file_of_initial_weights_is_passed_over(files: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_initial_weights(choose_members(FULL, "resnet18,densenet121"), files)


def test_a_member_keeps_its_own_initial_weights() -> None:
    config = choose_members(FULL, "resnet18,resnet34,densenet121")
    own = replace(config.members[0], init_weights="own.pth"), replace(config.members[1], pretrained=True)
    config = replace(config, members=(*own, config.members[2]))
    chosen = choose_initial_weights(config, ["densenet121=d.pth"])
    assert [(member.init_weights, member.pretrained) for member in chosen.members] == [
        ("own.pth", False),
        ("", True),
        ("d.pth", False),
    ]
    assert choose_initial_weights(config, [], pretrained=True).members[0].init_weights == "own.pth"
    for file in ("resnet18=r.pth", "resnet34=r.pth", "r.pth"):
        with pytest.raises(ValueError, match=r"expected one source of pretrained weights .* got r\.pth and "):
            choose_initial_weights(config, [file])
    with pytest.raises(ValueError, match=r"weights own\.pth, got --members, which replaces"):
        choose_members(config, "resnet18")


def test_specialists_name_their_body_parts() -> None:
    chosen = choose_members(FULL, "efficientnet_lite0:2:224:5@XR_HAND+XR_WRIST, attention_cnn")
    assert [member.body_parts for member in chosen.members] == [("XR_HAND", "XR_WRIST")] * 2 + [()]
    assert [member.image_size for member in chosen.members[:2]] == [224, 224]
    assert chosen.members[0].pretrained
    assert chosen.members[0].training["box_loss"] == 1  # as the preset's first member of this network
    assert "box_loss" not in chosen.members[1].training
    for line in ("attention_cnn@", "attention_cnn@A+", "attention_cnn@+B"):
        with pytest.raises(ValueError, match=r"\[@PART\+PART\]"):
            choose_members(FULL, line)
