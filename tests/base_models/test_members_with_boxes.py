"""From a tree with `boxes.csv` to tables: crop, boxes and specialists, and what of them cannot be."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.datasets import open_dataset
from base_models.ensemble import train_ensemble
from base_models.members import load_trained_members
from base_models.prediction import predict_studies
from base_models.preflight import check_training
from base_models.synthetic import synthesize

NET = {"blocks": 1, "width": 4, "dropout": 0.0}
CONFIG = EnsembleConfig(
    members=(
        MemberConfig("all", image_size=32, epochs=2, options=NET),
        MemberConfig("hands", image_size=32, epochs=2, options=NET, body_parts=("XR_HAND", "XR_WRIST")),
    ),
    training=TrainingConfig(batch_size=8, box_loss=1.0),
    folds=2,
    jobs=1,
    cache_size=48,
    crop=True,
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("boxes") / "tree"
    synthesize(path, 40, seed=0)
    return path


def test_a_run_with_crop_boxes_and_a_specialist(tree: Path, tmp_path: Path) -> None:
    dataset = open_dataset(tree)
    train, test = train_ensemble(dataset, CONFIG, tmp_path / "with")
    assert train.model_names == ("all", "hands")
    document = json.loads((tmp_path / "with/members/hands/member.json").read_text())
    assert document["crop"] is True
    assert document["config"]["body_parts"] == ["XR_HAND", "XR_WRIST"]
    # prediction crops and aggregates as training did
    members = load_trained_members(tmp_path / "with")
    again = predict_studies(members, dataset.of_split("test"))
    np.testing.assert_allclose(again, test.logits, atol=1e-4)
    # boxes taught it: without them the weights are others
    without = replace(CONFIG, training=replace(CONFIG.training, box_loss=0.0))
    other, _ = train_ensemble(dataset, without, tmp_path / "without", cache_dir=tmp_path / "with/image_cache")
    assert not np.allclose(other.logits, train.logits)
    assert len(list((tmp_path / "with/image_cache").iterdir())) == 1


def test_specialists_of_unknown_parts_are_refused(tree: Path) -> None:
    members = (replace(CONFIG.members[1], body_parts=("XR_HAND", "XR_KNEE")),)
    with pytest.raises(ValueError, match=r"specialist 'hands' .* \(XR_ELBOW, .*\), got 'XR_KNEE'"):
        check_training(open_dataset(tree), replace(CONFIG, members=members))


def test_a_box_outside_of_its_image_is_refused(tree: Path, tmp_path: Path) -> None:
    dataset = open_dataset(tree)
    path, (box, *_) = next(iter(dataset.boxes.items()))
    wide = replace(dataset, boxes={**dataset.boxes, path: (box._replace(x_max=5000.0),)})
    with pytest.raises(ValueError, match=f"boxes inside of {path}, .* got one to x = 5000"):
        train_ensemble(wide, CONFIG, tmp_path / "run")
