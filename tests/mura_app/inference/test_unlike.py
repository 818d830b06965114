from dataclasses import replace

import numpy as np
import pytest

from base_models.datasets import open_dataset
from mura_app import Ensemble
from mura_app.inference.shown import prediction_text
from mura_app.inference.unlike import TrainingImages, pixel_statistics
from mura_app.main import run_command


def drawn(generator, n, n_features=6, centre=0.0):
    mixing = np.linalg.qr(np.random.default_rng(3).normal(size=(n_features, n_features)))[0]
    mixing *= np.linspace(1, 3, n_features)[:, None]
    return generator.normal(size=(n, n_features)) @ mixing + centre


def test_distances_are_mahalanobis_and_percentiles_those_of_held_out_studies():
    generator = np.random.default_rng(0)
    features = np.vstack([drawn(generator, 3000), drawn(generator, 3000, centre=20.0)])
    parts = ["A"] * 3000 + ["B"] * 3000
    held_out = generator.random(6000) < 0.4
    study = np.arange(6000) // 2
    images = TrainingImages.fit(features, parts, held_out, study, (0, 1))
    learned = features[:3000][~held_out[:3000]]
    covariance = np.cov(np.vstack([learned, features[3000:][~held_out[3000:]] - 20.0]).T)
    new = drawn(generator, 500)
    apart = new - learned.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", apart, np.linalg.inv(covariance), apart))
    np.testing.assert_allclose(images.distances(new), expected, rtol=0.1)
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


def test_pixels_are_described_alike_whatever_the_sides():
    square = np.random.default_rng(0).integers(0, 256, (96, 96)).astype(np.uint8)
    statistics = pixel_statistics(np.stack([square, 255 - square]))
    assert statistics.shape == (2, 12 * 12 + 16 + 3)
    np.testing.assert_allclose((statistics[:, 144:160] ** 2).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(statistics[0, :144] + statistics[1, :144], 1, atol=0.01)


def test_a_study_is_as_unlike_as_its_most_unusual_radiograph_and_can_be_refused(run, tree, capsys):
    ensemble = Ensemble.load(run)
    study = open_dataset(tree).of_split("test")[0]
    alone = ensemble.predict(study.image_paths[0]).unlike
    noise = np.random.default_rng(0).integers(0, 256, (200, 160)).astype(np.uint8)
    found = ensemble.predict([study.image_paths[0], noise]).unlike
    assert (found.view, found.percentile > max(90, alone.percentile)) == ("view 2", True)
    ensemble.training_images = replace(ensemble.training_images, quantiles=np.zeros(1001))
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
