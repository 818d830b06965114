from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf

from base_models.datasets import open_dataset
from base_models.imaging.decoding import fit_into_square
from base_models.imaging.reader import read_grey
from base_models.storage import save_tensors
from mura_app import Ensemble
from mura_app.inference.shown import prediction_text
from mura_app.inference.unlike import TrainingImages, pixel_columns
from mura_app.inference.upside_down import N_COLUMNS, UpsideDown, description, turned
from mura_app.main import run_command


def drawn(generator, n, n_features=6, centre=0.0):
    """Features of which those that tell which way up an image lies say nothing."""
    return np.hstack([correlated(generator, n, n_features) + centre, np.zeros((n, N_COLUMNS))])


def correlated(generator, n, n_features):
    mixing = np.linalg.qr(np.random.default_rng(3).normal(size=(n_features, n_features)))[0]
    mixing *= np.linspace(1, 3, n_features)[:, None]
    return generator.normal(size=(n, n_features)) @ mixing


def test_distances_are_mahalanobis_and_percentiles_those_of_held_out_studies():
    generator = np.random.default_rng(0)
    features = np.vstack([drawn(generator, 3000), drawn(generator, 3000, centre=20.0)])
    parts = ["A"] * 3000 + ["B"] * 3000
    held_out = generator.random(6000) < 0.4
    study = np.arange(6000) // 2
    images = TrainingImages.fit(features, parts, held_out, study, (0, 1))
    seen = features[:, :-N_COLUMNS]
    learned = seen[:3000][~held_out[:3000]]
    covariance = np.cov(np.vstack([learned, seen[3000:][~held_out[3000:]] - 20.0]).T)
    new = drawn(generator, 500)
    apart = new[:, :-N_COLUMNS] - learned.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", apart, np.linalg.inv(covariance), apart))
    np.testing.assert_allclose(images.scores(new)[:, 0], expected, rtol=0.1)
    far = images.percentiles(features[held_out])
    worst = np.zeros(3000)
    np.maximum.at(worst, study[held_out], far)
    marked = (worst[np.unique(study[held_out])] > 99.5).mean()
    assert marked == pytest.approx(0.005, abs=0.002)
    assert images.percentiles(drawn(generator, 5, centre=10.0)).min() == 100


def test_it_is_read_as_it_was_written(tmp_path):
    generator = np.random.default_rng(1)
    features, held_out = drawn(generator, 50), np.arange(50) % 2 == 0
    images = TrainingImages.fit(features, ["A"] * 50, held_out, np.arange(50), (-1, 0))
    images.save(tmp_path / "reference.safetensors")
    again = TrainingImages.load(tmp_path / "reference.safetensors")
    np.testing.assert_array_equal(again.percentiles(features), images.percentiles(features))
    assert (again.member, again.fold) == (-1, 0)
    assert TrainingImages.is_saved(tmp_path / "reference.safetensors")
    save_tensors({"mean": torch.zeros(2)}, tmp_path / "reference.safetensors", {"member": 0, "fold": 0})
    assert not TrainingImages.is_saved(tmp_path / "reference.safetensors")
    with pytest.raises(
        ValueError, match="got the file of another version; write it again with `mura report`"
    ):
        TrainingImages.load(tmp_path / "reference.safetensors")


def test_an_image_its_mirror_image_and_the_turned_ones_are_described_as_they_lie():
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8), (0, 0), 4)
    own = description(image)
    assert own.shape == (N_COLUMNS,)
    np.testing.assert_allclose(description(image[:, ::-1].copy()), own, atol=2e-3)
    for upside_down in (image[::-1], image[::-1, ::-1]):
        np.testing.assert_allclose(description(upside_down.copy()), turned(own[None])[0], atol=2e-3)
    np.testing.assert_array_equal(turned(turned(own[None])), own[None])
    assert np.abs(turned(own[None]) - own).max() > 0.05


def test_upside_down_is_the_ratio_of_two_mixtures_of_normal_distributions():
    generator = np.random.default_rng(2)
    part = generator.integers(0, 2, 4000)
    centres = generator.normal(size=(2, N_COLUMNS)) / 5
    columns = centres[part] + generator.normal(size=(4000, N_COLUMNS))
    found = UpsideDown.fit(columns, part)
    columns = columns / np.concatenate([columns, turned(columns)]).std(axis=0)
    means = np.stack([columns[part == index].mean(axis=0) for index in (0, 1)])
    apart = columns - means[part]
    covariance = ledoit_wolf(np.concatenate([apart, turned(apart)]), assume_centered=True)[0]

    def density(about):
        each = [multivariate_normal(mean, covariance).logpdf(columns[:50]) for mean in about]
        return np.logaddexp(*each)

    new = columns[:50] * found.scale
    np.testing.assert_allclose(found.scores(new), density(turned(means)) - density(means), rtol=1e-4)
    np.testing.assert_allclose(found.scores(turned(new)), -found.scores(new), atol=1e-6)


def test_upside_down_radiographs_are_noticed(tree):
    dataset = open_dataset(tree)
    images = [(read_grey(path), study.body_part) for study in dataset.studies for path in study.image_paths]
    upright = np.stack([fit_into_square(image, 96) for image, _ in images])
    features = np.array([pixel_columns(square) for square in upright])
    held_out = np.arange(len(upright)) % 2 == 0
    reference = TrainingImages.fit(
        features, [part for _, part in images], held_out, np.arange(len(upright)), (-1, 0)
    )
    upside_down = np.array([pixel_columns(square[::-1, ::-1].copy()) for square in upright[held_out]])
    assert (reference.percentiles(upside_down) > 99.5).mean() > 0.6
    assert (reference.percentiles(features[held_out]) > 99.5).mean() <= 0.02


def test_a_study_is_as_unlike_as_its_most_unusual_radiograph_and_can_be_refused(run, tree, capsys):
    ensemble = Ensemble.load(run)
    study = open_dataset(tree).of_split("test")[0]
    alone = ensemble.predict(study.image_paths[0]).unlike
    noise = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    found = ensemble.predict([study.image_paths[0], noise]).unlike
    assert (found.view, found.percentile > max(90, alone.percentile)) == ("view 2", True)
    ensemble.training_images = replace(ensemble.training_images, quantiles=np.full(1001, -1e9))
    marked = ensemble.predict(study.image_paths[0])
    assert (marked.unlike.percentile, marked.unlike.is_unlike) == (100, True)
    assert "UNLIKE the training images" in prediction_text(marked)
    ensemble.training_images.save(run / "other.safetensors")
    kept = (run / "reference.safetensors").rename(run / "kept.safetensors")
    (run / "other.safetensors").rename(run / "reference.safetensors")
    arguments = ["predict", "--run", str(run), str(study.image_paths[0]), "--refuse-unlike"]
    assert run_command(arguments) == 2
    assert "less like them than 100.0 % of held-out studies" in capsys.readouterr().err
    kept.rename(run / "reference.safetensors")
