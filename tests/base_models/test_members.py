import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from base_models.calibration import Calibration
from base_models.config import MemberConfig
from base_models.members import (
    TrainedMember,
    forward_flops,
    load_members,
    load_trained_members,
    meta_network,
    new_network,
    save_index,
    save_member,
    weights_path,
)
from base_models.storage import save_tensors
from mura_env.errors import UserError


def test_flops_are_those_of_the_convolutions_and_matrices() -> None:
    member = MemberConfig("a", image_size=32, options={"blocks": 1, "width": 4})
    network, total = new_network(member, 3), 0

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 1, 32, 32))
    assert forward_flops(meta_network(member, 3), member) == total


@pytest.mark.parametrize(
    ("network", "size", "reason"),
    [
        ("squeezenet1_0", 16, "Output size is too small"),
        ("vit_b_16", 32, "Expected 224 but got 32"),
        ("maxvit_t", 64, "is invalid for input"),
    ],
)
def test_sizes_that_a_network_does_not_take_are_refused(network: str, size: int, reason: str) -> None:
    member = MemberConfig("a", network, size)
    words = rf"the network '{network}' takes, got {size} \(.*{reason}.*\); try 224"
    with pytest.raises(ValueError, match=words):
        forward_flops(meta_network(member, 2), member)


CLASSES = ("normal", "abnormal")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one member with two folds."""
    config = MemberConfig("one", image_size=32, options={"blocks": 1, "width": 4})
    identity = Calibration(1.0, (0.0, 0.0), {"HAND": (0.1, -0.1)})
    for fold in range(2):
        save_tensors(new_network(config, 2).state_dict(), weights_path(tmp_path, "one", fold), {})
    save_member(tmp_path, TrainedMember(config, (), identity, (identity, identity), CLASSES, 32), {})
    save_index(tmp_path, ["one"])
    return tmp_path


def test_a_saved_member_comes_back(run: Path) -> None:
    (member,) = load_trained_members(run)
    assert (len(member.networks), member.class_names, member.cache_size) == (2, CLASSES, 32)
    assert member.fold_calibrations == (Calibration(1.0, (0.0, 0.0), {"HAND": (0.1, -0.1)}),) * 2
    assert member.config.options == {"blocks": 1, "width": 4}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config": None}, "with None where config should be"),
        ({"config": {"name": "../one"}}, "expected a member's name of letters"),
        ({"config": {"name": "two"}}, "expected the member 'one'"),
        ({"config": {"name": "one", "network": 3}}, "with 3 where config.network should be a valid string"),
        ({"config": {"name": "one", "shell": "true"}}, "with the unknown field config.shell"),
        ({"config": {"name": "one", "image_size": 10**12}}, "expected image_size in"),
        ({"class_names": "ab"}, "with 'ab' where class_names should be a valid array"),
        ({"class_names": ["a"]}, "with ['a'] where class_names should have at least 2 items"),
        ({"class_names": ["a", "b", "c"]}, "with a calibration that is none of 3 classes"),
        ({"folds": -1}, "with -1 where folds should be greater than or equal to 1"),
        ({"folds": True}, "with True where folds should be a valid integer"),
        ({"folds": 10**15}, "with 2 fold_calibrations for 1000000000000000 folds"),
        ({"cache_size": 10**9}, "where cache_size should be less than or equal to 4096"),
        ({"view_aggregation": "worst"}, "with 'worst' where view_aggregation should be 'mean'"),
        ({"tta_flip": "no"}, "with 'no' where tta_flip should be a valid boolean"),
        ({"calibration": {"temperature": 0.0, "bias": [0.0, 0.0]}}, "with a calibration that is none of 2"),
        ({"calibration": {"temperature": 1.0, "bias": [0.0]}}, "with a calibration that is none of 2"),
        ({"calibration": {"temperature": 1.0}}, "without 'bias' in calibration"),
        ({"fold_calibrations": {}}, "with {} where fold_calibrations should be a valid array"),
        ({"input_format": {"mean": [], "scale": []}}, "expected a mean and a positive scale"),
        ({"input_format": {"mean": [0.1] * 3, "scale": [1.0] * 3}}, "another network's"),
    ],
)
def test_an_edited_member_is_refused_by_file_and_field(run: Path, change: dict[str, Any], words: str) -> None:
    path = run / "members" / "one" / "member.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=re.escape(words)) as error:
        load_trained_members(run)
    assert str(path.parent) in str(error.value)


def test_members_that_are_missing_or_damaged_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected the members of a finished run"):
        load_members(tmp_path / "absent")
    assert len(load_members(run)) == 2
    file = run / "members" / "one" / "fold1.safetensors"
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    for damaged in (flipped, b"half", content[: len(content) // 2], content[:9]):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"fold1\.safetensors"):
            load_members(run)
    file.write_bytes(content)
    (run / "members" / "one" / "member.json").write_text("{}")
    with pytest.raises(UserError, match="expected a member of this package"):
        load_members(run)


def test_a_member_without_one_of_its_fields_is_refused(run: Path) -> None:
    path = run / "members" / "one" / "member.json"
    document = json.loads(path.read_text())
    for name in sorted(document.keys() - {"in_channels"}):
        path.write_text(json.dumps({key: value for key, value in document.items() if key != name}))
        with pytest.raises(UserError, match=rf"member\.json without '{name}'"):
            load_trained_members(run)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["../../elsewhere"], "expected a member's name of letters"),
        (["/etc"], "expected a member's name of letters"),
        ([".."], "expected a member's name of letters"),
        (["one\0"], "expected a member's name of letters"),
        ([], "members should have at least 1 item"),
        ([1], "with 1 where members.0 should be a valid string"),
        (None, "with None where members should be a valid array"),
    ],
)
def test_members_are_named_before_they_become_folders(run: Path, names: object, words: str) -> None:
    (run / "members" / "members.json").write_text(json.dumps({"members": names}))
    with pytest.raises(UserError, match=re.escape(words)):
        load_trained_members(run)


@pytest.mark.parametrize("name", ["members.json", "one/member.json", "one/fold1.safetensors"])
def test_a_pipe_is_not_waited_for(run: Path, name: str) -> None:
    (run / "members" / name).unlink()
    os.mkfifo(run / "members" / name)
    with pytest.raises(FileNotFoundError):
        load_trained_members(run)
