from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.datasets import Dataset, open_dataset
from base_models.ensemble import train_ensemble
from base_models.imaging.pixel_statistics import NOTES, image_notes
from base_models.members import load_trained_members
from base_models.prediction import predict_studies_and_images, view_outputs
from base_models.storage import load_tensors, save_tensors
from base_models.study_features import (
    N_ANCHORS,
    N_COMPONENTS,
    StudyFeatures,
    draw_anchors,
    load_study_features,
    similarities,
)
from base_models.synthetic import synthesize
from mura_env import Predictions

NET = {"blocks": 1, "width": 4, "dropout": 0.0}
CONFIG = EnsembleConfig(
    members=(
        MemberConfig("a", image_size=32, epochs=1, options=NET),
        MemberConfig("b", image_size=24, epochs=1, options=NET),
    ),
    training=TrainingConfig(batch_size=8),
    folds=2,
    jobs=1,
    features=True,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("features") / "tree"
    synthesize(path, 40, seed=0)
    return open_dataset(path)


@pytest.fixture(scope="module")
def run_dir(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_ensemble(dataset, CONFIG, folder)
    return folder


def test_members_of_a_run_make_the_features_of_its_tables(dataset: Dataset, run_dir: Path) -> None:
    members = load_trained_members(run_dir)
    features = load_study_features(run_dir, ["a", "b"])
    assert features is not None
    outputs = predict_studies_and_images(members, dataset.of_split("test"), features=features)
    for name, of in zip(("test", "test-images"), outputs, strict=True):
        table = Predictions.load(run_dir / "predictions" / f"{name}.npz")
        assert table.feature_names == of.feature_names == features.names
        assert table.feature_names[-len(NOTES) :] == NOTES
        assert len(table.feature_names) <= N_COMPONENTS + len(NOTES) <= 16
        assert of.features is not None
        np.testing.assert_allclose(of.features, table.features, atol=2e-3)
    train = Predictions.load(run_dir / "predictions" / "train.npz")
    assert train.feature_names == features.names
    assert train.features is not None
    assert (train.features.std(axis=0)[:3] > 0).all()


def test_a_training_study_is_embedded_by_the_networks_that_never_saw_it(
    dataset: Dataset, run_dir: Path
) -> None:
    """One study of each fold, with its similarities computed in a loop in float64."""
    features = load_study_features(run_dir, ["a", "b"])
    assert features is not None
    train = Predictions.load(run_dir / "predictions" / "train.npz")
    from base_models.cross_fitting import draw_folds
    from base_models.prediction import decode_images

    studies = dataset.of_split("train")
    folds = draw_folds(studies, 2, 0)
    members = load_trained_members(run_dir)
    assert train.features is not None
    for fold in (0, 1):
        row = int(np.flatnonzero(folds == fold)[0])
        decoded = decode_images(members, studies[row].image_paths)
        views = np.arange(len(studies[row].image_paths))
        expected = []
        for member in members:
            embeddings = view_outputs(
                member.networks[fold],
                decoded.of_member(member),
                views,
                member.config.image_size,
                member.input_format,
            ).embeddings
            for anchor in features.anchors[member.config.name][fold].astype(np.float64):
                cosines = [
                    float(e @ anchor / (np.linalg.norm(e) * np.linalg.norm(anchor)))
                    for e in embeddings.astype(np.float64)
                ]
                expected.append(np.mean(cosines))
        columns = features.components.astype(np.float64) @ (np.array(expected) - features.mean)
        np.testing.assert_allclose(train.features[row, : len(columns)], columns, atol=5e-3)


def test_without_features_nothing_is_written(dataset: Dataset, tmp_path: Path) -> None:
    config = replace(CONFIG, features=False, members=CONFIG.members[:1])
    train, _ = train_ensemble(dataset, config, tmp_path)
    assert train.features is None
    assert load_study_features(tmp_path, ["a"]) is None


def test_features_of_other_members_are_refused(run_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"expected the features of b in .* copy the folder members whole"):
        load_study_features(run_dir, ["b"])


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    StudyFeatures.fit({"a": np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)}).save(
        tmp_path
    )
    file = tmp_path / "members" / "features.safetensors"
    tensors, facts = load_tensors(file)
    assert load_study_features(tmp_path, ["a"]) is not None
    changes: list[dict[str, torch.Tensor]] = [
        {"mean": torch.zeros(8)},
        {"components": torch.zeros(8)},
        {"anchors/a": torch.zeros(9, 4)},
        {"mean": torch.full((9,), torch.nan)},
        {"more": torch.zeros(1)},
    ]
    for wrong in (*(tensors | change for change in changes), {"mean": tensors["mean"]}):
        save_tensors(wrong, file, facts)
        with pytest.raises(ValueError, match="got arrays that do not fit"):
            load_study_features(tmp_path, ["a"])


def test_the_components_are_uncorrelated_on_the_anchors_and_do_not_depend_on_the_networks_axes() -> None:
    rng = np.random.default_rng(0)
    anchors = rng.normal(size=(2, 30, 20)).astype(np.float32)
    features = StudyFeatures.fit({"a": anchors})
    table = np.mean([similarities(fold, fold) for fold in anchors], axis=0)
    columns = features.columns(table[:, None], np.zeros((30, len(NOTES))))[:, : len(features.components)]
    np.testing.assert_allclose(np.cov(columns.T, bias=True), np.eye(columns.shape[1]), atol=1e-3)
    # a network with turned axes says the same of an image
    turn = np.linalg.qr(rng.normal(size=(20, 20)))[0].astype(np.float32)
    images = rng.normal(size=(5, 20)).astype(np.float32)
    np.testing.assert_allclose(
        similarities(images @ turn, anchors[0] @ turn), similarities(images, anchors[0]), atol=1e-5
    )


def test_anchors_are_training_images_and_few() -> None:
    rows = np.repeat(np.arange(100, 300), 2)
    anchors = draw_anchors(rows, 3)
    assert len(np.unique(anchors)) == len(anchors) == N_ANCHORS
    assert np.isin(anchors, rows).all()
    np.testing.assert_array_equal(anchors, draw_anchors(rows, 3))
    assert len(draw_anchors(np.arange(5), 0)) == 5


def test_the_notes_of_a_reader() -> None:
    def notes(image: np.ndarray) -> Mapping[str, float]:
        return dict(zip(NOTES, image_notes(image.astype(np.uint8)), strict=True))

    rng = np.random.default_rng(0)
    limb = np.zeros((128, 128))
    limb[:, 32:96] = 100 + 5 * rng.normal(size=(128, 64))
    plain = notes(limb)
    assert plain["aspect"] == pytest.approx(np.log(64 / 128))
    assert plain["brightness"] == pytest.approx(100 / 255, abs=0.02)
    assert plain["metal"] == 0
    limb[40:60, 60:66] = 250  # a screw
    screwed = notes(limb)
    assert screwed["metal"] == pytest.approx(20 * 6 / (128 * 64), rel=0.2)
    assert screwed["sharpness"] > plain["sharpness"]
    assert notes(np.zeros((64, 64))) == dict.fromkeys(NOTES, 0.0)


def test_a_network_without_a_linear_layer_is_embedded_by_its_logits() -> None:
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Conv2d(1, 2, 1), torch.nn.Flatten())
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    outputs = view_outputs(network.eval(), images, np.arange(3), 16)
    np.testing.assert_array_equal(outputs.logits, outputs.embeddings)


def test_the_tables_hold_the_operations_per_view_of_the_networks_that_predict(run_dir: Path) -> None:
    costs = {
        name: Predictions.load(run_dir / "predictions" / f"{name}.npz").costs
        for name in ("train", "test", "test-images", "test-folds", "metadata-test")
    }
    of_folds = []
    for member, trained in zip(CONFIG.members, load_trained_members(run_dir), strict=True):
        for network in trained.networks:
            with FlopCounterMode(display=False) as counter:
                network(torch.zeros(1, 1, member.image_size, member.image_size))
            of_folds.append(counter.get_total_flops())
    assert costs["test-folds"].tolist() == of_folds
    for name in ("train", "test", "test-images"):
        assert costs[name].tolist() == [sum(of_folds[:2]), sum(of_folds[2:])]
    assert costs["metadata-test"] is None
