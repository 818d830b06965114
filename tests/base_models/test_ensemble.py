import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import mobilenet_v3_small

from base_models import load_members
from base_models.calibration import Calibration, cross_calibrate, fit_calibration
from base_models.datasets import Dataset, open_dataset
from base_models.ensemble import EnsembleConfig, MemberConfig, TrainingConfig, train_ensemble
from base_models.imaging.decoding import fit_into_square
from base_models.imaging.reader import read_grey
from base_models.members import load_trained_members
from base_models.networks.input_format import GREY, IMAGENET
from base_models.prediction import predict_studies, predict_studies_and_images
from base_models.storage import load_tensors
from base_models.training.fit import FitJob, FitResult, is_finished, run_fit
from mura_env import Predictions
from tests.base_models.trees import save_picture, write_mura

OPTIONS = {"blocks": 1, "width": 4, "dropout": 0.2}
CONFIG = EnsembleConfig(
    members=(
        MemberConfig("one", image_size=16, epochs=2, options=OPTIONS),
        MemberConfig("two", image_size=24, epochs=1, options=OPTIONS),
    ),
    training=TrainingConfig(batch_size=8),
    folds=2,
    jobs=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_mura(tmp_path_factory.mktemp("data"), {"train": 12, "valid": 6}))


@pytest.fixture(scope="module")
def run_dir(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_ensemble(dataset, CONFIG, folder)
    return folder


def _weights(folder: Path) -> dict[str, bytes]:
    return {
        str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.glob("members/*/*.safetensors"))
    }


def _tables(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "predictions").iterdir())}


def test_the_tables_hold_the_studies_of_each_split(dataset: Dataset, run_dir: Path) -> None:
    models = {"train": 2, "test": 2, "test-folds": 4, "metadata-train": 1, "metadata-test": 1}
    assert {file.stem for file in (run_dir / "predictions").iterdir()} == {*models, "test-images"}
    for name, n_models in models.items():
        table = Predictions.load(run_dir / "predictions" / f"{name}.npz")
        studies = dataset.of_split("train" if "train" in name else "test")
        assert table.logits.shape == (len(studies), n_models, 2)
        for row, study in enumerate(studies):
            assert table.study_ids[row] == study.study_id
            assert table.patient_ids[row] == study.patient_id
            assert table.body_part_names[table.body_parts[row]] == study.body_part
            assert (table.labels[row], table.n_views[row]) == (study.label, len(study.image_paths))
    assert Predictions.load(run_dir / "predictions" / "train.npz").model_names == ("one", "two")


def test_no_patient_is_in_two_folds_or_on_both_sides(dataset: Dataset, run_dir: Path) -> None:
    folds = json.loads((run_dir / "training.json").read_text())["folds"]
    fold_of_patient: dict[str, set[int]] = {}
    for study in dataset.of_split("train"):
        fold_of_patient.setdefault(study.patient_id, set()).add(folds[study.study_id])
    assert all(len(found) == 1 for found in fold_of_patient.values())
    assert set(folds) == {study.study_id for study in dataset.of_split("train")}
    assert not set(fold_of_patient) & {study.patient_id for study in dataset.of_split("test")}


def _raw_study_logits(network: torch.nn.Module, study, size: int) -> np.ndarray:
    """The log of the mean view probability, in a plain loop from the files."""
    total = np.zeros(2)
    for path in study.image_paths:
        square = fit_into_square(read_grey(path), 24)
        if size != 24:
            square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            logits = network(GREY.planes(torch.from_numpy(square)[None]))[0].double().numpy()
        total += np.exp(logits) / np.exp(logits).sum()
    return np.log(total / len(study.image_paths))


def test_the_tables_follow_from_the_saved_networks(dataset: Dataset, run_dir: Path) -> None:
    networks = load_members(run_dir)
    assert len(networks) == 4
    assert not any(network.training for network in networks)
    folds_of = json.loads((run_dir / "training.json").read_text())["folds"]
    train, test = dataset.of_split("train"), dataset.of_split("test")
    folds = np.array([folds_of[study.study_id] for study in train])
    labels = np.array([study.label for study in train])
    tables = {
        n: Predictions.load(run_dir / "predictions" / f"{n}.npz").logits
        for n in ("train", "test", "test-folds")
    }
    for model, size in enumerate((16, 24)):
        nets = networks[2 * model : 2 * model + 2]
        raw = np.stack([_raw_study_logits(nets[folds_of[s.study_id]], s, size) for s in train])
        np.testing.assert_allclose(
            tables["train"][:, model], cross_calibrate(raw, labels, folds)[0], rtol=1e-3, atol=1e-3
        )
        calibration = fit_calibration(raw, labels)
        for fold, network in enumerate(nets):
            expected = calibration.apply(np.stack([_raw_study_logits(network, s, size) for s in test]))
            np.testing.assert_allclose(
                tables["test-folds"][:, 2 * model + fold], expected, rtol=1e-3, atol=1e-3
            )
        averaged = tables["test-folds"][:, 2 * model : 2 * model + 2].mean(axis=1)
        np.testing.assert_allclose(tables["test"][:, model], averaged, rtol=1e-5, atol=1e-5)


def test_members_that_begin_with_weights_for_colours_keep_their_normalisation(
    dataset: Dataset, tmp_path: Path
) -> None:
    torch.save(mobilenet_v3_small(num_classes=5).state_dict(), tmp_path / "colours.pth")
    colours = str(tmp_path / "colours.pth")
    members = (
        MemberConfig("fresh", "mobilenet_v3_small", image_size=32, epochs=1),
        MemberConfig("known", "mobilenet_v3_small", image_size=32, epochs=1, init_weights=colours),
    )
    _, test = train_ensemble(dataset, replace(CONFIG, members=members), tmp_path / "run")
    trained = load_trained_members(tmp_path / "run")
    assert [member.input_format for member in trained] == [GREY, IMAGENET.one_plane]
    predicted = predict_studies(trained, dataset.of_split("test"))
    np.testing.assert_allclose(predicted, test.logits, rtol=1e-4, atol=1e-5)


def test_the_table_of_images_holds_each_radiograph_for_itself(dataset: Dataset, run_dir: Path) -> None:
    images = Predictions.load(run_dir / "predictions" / "test-images.npz")
    studies = dataset.of_split("test")
    assert images.study_ids.tolist() == [
        f"{study.study_id}#{view + 1}" for study in studies for view in range(len(study.image_paths))
    ]
    test = Predictions.load(run_dir / "predictions" / "test.npz")
    single = np.flatnonzero(test.n_views == 1)
    assert 0 < len(single) < len(test)
    first = np.cumsum(test.n_views) - test.n_views
    np.testing.assert_allclose(images.logits[first[single]], test.logits[single], rtol=1e-5, atol=1e-5)
    last = studies[-1]
    alone = replace(last, image_paths=last.image_paths[-1:])
    expected = predict_studies(load_trained_members(run_dir), [alone])
    np.testing.assert_allclose(images.logits[-1:], expected, rtol=1e-4, atol=1e-4)
    for column in ("patient_ids", "labels", "body_parts"):
        assert (getattr(images, column) == np.repeat(getattr(test, column), test.n_views)).all()
    assert (images.n_views == 1).all()


def test_decoded_radiographs_can_be_shared_between_runs(
    dataset: Dataset, run_dir: Path, tmp_path: Path
) -> None:
    before = {file: file.stat().st_mtime_ns for file in (run_dir / "image_cache").rglob("*.npy")}
    config = replace(CONFIG, members=CONFIG.members[1:])  # the same largest side
    train_ensemble(dataset, config, tmp_path, seed=1, cache_dir=run_dir / "image_cache")
    assert not (tmp_path / "image_cache").exists()
    assert {file: file.stat().st_mtime_ns for file in (run_dir / "image_cache").rglob("*.npy")} == before


def test_trained_members_predict_new_studies_as_the_test_table(dataset: Dataset, run_dir: Path) -> None:
    members = load_trained_members(run_dir)
    assert [member.config for member in members] == list(CONFIG.members)
    assert all(isinstance(member.calibration, Calibration) for member in members)
    calls: list[tuple[str, int, int]] = []
    tables = predict_studies_and_images(members, dataset.of_split("test"), lambda *call: calls.append(call))
    for name, outputs in zip(("test", "test-images"), tables, strict=True):
        expected = Predictions.load(run_dir / "predictions" / f"{name}.npz").logits
        np.testing.assert_allclose(outputs.logits, expected, rtol=1e-4, atol=1e-4)
    assert calls[-1] == ("predicting", 2, 2)


@pytest.mark.slow
def test_processes_and_order_do_not_change_a_bit(dataset: Dataset, run_dir: Path, tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    train_ensemble(dataset, replace(CONFIG, jobs=2), tmp_path, progress=lambda *call: calls.append(call))
    assert _tables(tmp_path) == _tables(run_dir)
    done = [call[1] for call in calls if call[0] == "training"]
    assert done == sorted(done)
    assert calls[-1] == ("training", 6, 6)
    assert not list(tmp_path.glob("members/*/*.epoch*"))


def test_resuming_takes_finished_fits_over(dataset: Dataset, run_dir: Path, tmp_path: Path) -> None:
    reference = train_ensemble(dataset, CONFIG, tmp_path)
    weights, tables = _weights(tmp_path), _tables(tmp_path)
    assert tables == _tables(run_dir)
    lost, damaged, kept = (tmp_path / "members" / name for name in ("one/fold1", "two/fold0", "one/fold0"))
    lost.with_suffix(".safetensors").unlink()
    damaged.with_suffix(".safetensors").write_bytes(b"half a file")
    written = kept.with_suffix(".safetensors").stat().st_mtime_ns
    resumed = train_ensemble(dataset, CONFIG, tmp_path, resume=True)
    assert kept.with_suffix(".safetensors").stat().st_mtime_ns == written
    for a, b in zip(reference, resumed, strict=True):
        np.testing.assert_array_equal(a.logits, b.logits)
    assert _tables(tmp_path) == tables
    assert {name: content[-1000:] for name, content in _weights(tmp_path).items()} == {
        name: content[-1000:] for name, content in weights.items()
    }


def test_resuming_with_another_configuration_trains_those_members_again(
    dataset: Dataset, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fits of the member that stays as it was are taken over, those of the changed one are not."""
    shutil.copytree(run_dir, tmp_path, dirs_exist_ok=True)
    trained = []

    def fit(job: FitJob, *arguments: Any) -> FitResult:
        if not is_finished(job):
            trained.append((job.member.name, job.fold))
        return run_fit(job, *arguments)

    monkeypatch.setattr("base_models.training.fit_pool.run_fit", fit)
    kept, changed = CONFIG.members
    train_ensemble(dataset, CONFIG, tmp_path, resume=True)
    assert trained == []
    config = replace(CONFIG, members=(kept, replace(changed, epochs=changed.epochs + 1)))
    train_ensemble(dataset, config, tmp_path, resume=True)
    assert trained == [(changed.name, fold) for fold in range(CONFIG.folds)]


def test_images_of_several_patients_are_recorded(tmp_path: Path) -> None:
    dataset = open_dataset(write_mura(tmp_path / "data", {"train": 8, "valid": 4}))
    (first, *_), (*_, last) = (dataset.of_split(split) for split in ("train", "test"))
    shutil.copy(first.image_paths[0], last.image_paths[0])
    config = replace(CONFIG, members=(replace(CONFIG.members[0], epochs=1),))
    told: list[str] = []
    train_ensemble(dataset, config, tmp_path / "run", tell=told.append)
    assert "1 image(s) stand in studies of several patients" in told[0]  # before the time that it will take
    assert "fits to train" in told[1]
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert [str(first.image_paths[0]), str(last.image_paths[0])] in record["shared_images"]


def test_weights_that_have_seen_the_pixels_are_refused(tmp_path: Path) -> None:
    dataset = open_dataset(write_mura(tmp_path / "data", {"train": 8, "valid": 4}))
    member = replace(CONFIG.members[0], epochs=1)
    train_ensemble(dataset, replace(CONFIG, members=(member,)), tmp_path / "first")
    for path in (path for study in dataset.studies for path in study.image_paths):
        path.write_bytes(path.read_bytes() + b"0")  # another file of the same picture
    weights = str(tmp_path / "first" / "members" / member.name / "fold0.safetensors")
    config = replace(CONFIG, members=(replace(member, init_weights=weights),))
    with pytest.raises(ValueError, match="expected pretrained weights that have not seen these radiographs"):
        train_ensemble(dataset, config, tmp_path / "second")


def test_unreadable_images_stop_the_run_unless_skipped(tmp_path: Path) -> None:
    dataset = open_dataset(write_mura(tmp_path / "data", {"train": 8, "valid": 6}))
    two_views = next(study for study in dataset.of_split("train") if len(study.image_paths) == 2)
    one_view = next(study for study in dataset.of_split("test") if len(study.image_paths) == 1)
    bad = [two_views.image_paths[0], one_view.image_paths[0]]
    misnamed = two_views.image_paths[1]
    with Image.open(misnamed) as image:
        image.save(misnamed, format="JPEG")
    for path in bad:
        path.write_bytes(b"no image")
    blank = next(study for study in dataset.of_split("train") if study != two_views).image_paths[0]
    save_picture(blank, np.full((50, 40), 80, np.uint8))
    extra = misnamed.with_name("image9.webp")  # in no table: neither read nor kept quiet
    extra.write_bytes(b"no image")
    config = replace(CONFIG, members=CONFIG.members[1:])
    with pytest.raises(ValueError, match="got 2 that") as caught:
        train_ensemble(dataset, config, tmp_path / "run")
    assert all(str(path) in str(caught.value) for path in bad)
    train, test = train_ensemble(dataset, config, tmp_path / "run", skip_bad_images=True)
    assert train.n_views[list(train.study_ids).index(two_views.study_id)] == 1
    assert one_view.study_id not in test.study_ids
    record = json.loads((tmp_path / "run" / "training.json").read_text())
    assert set(record["skipped_images"]) == {str(path) for path in bad}
    assert record["skipped_studies"] == [one_view.study_id]
    assert set(record["misnamed_images"]) == {str(misnamed)}
    assert record["odd_images"][str(blank)].startswith("nearly of one grey")
    assert record["unlisted_files"] == [str(extra.relative_to(dataset.root))]
    assert record["counts"]["test"]["studies"] == len(test)


def test_a_run_with_every_option_predicts_new_studies_as_its_test_table(
    dataset: Dataset, run_dir: Path, tmp_path: Path
) -> None:
    config = replace(
        CONFIG,
        training=replace(CONFIG.training, inner_validation=0.3),
        view_aggregation="noisy_or",
        tta_flip=True,
        part_bias_std=0.5,
        drop_below=1e-9,
        hard_examples=str(run_dir),
        tensorboard=True,
        cache_size=40,
    )
    train, test = train_ensemble(dataset, config, tmp_path)
    record = json.loads((tmp_path / "training.json").read_text())
    means = {
        name: np.mean([fit["inner_score"]["auroc"] for fit in fits]) for name, fits in record["fits"].items()
    }
    best = max(means.values())
    assert list(train.model_names) == [name for name, mean in means.items() if mean == best]
    assert set(record["dropped_members"]) == set(means) - set(train.model_names)
    members = load_trained_members(tmp_path)
    assert [member.config.name for member in members] == list(train.model_names)
    assert all(
        (member.view_aggregation, member.tta_flip, member.cache_size) == ("noisy_or", True, 40)
        for member in members
    )
    assert all(set(member.calibration.part_biases) == set(dataset.body_part_names) for member in members)
    logits = predict_studies(members, dataset.of_split("test"))
    np.testing.assert_allclose(logits, test.logits, rtol=1e-4, atol=1e-4)
    assert {file.parent.name for file in tmp_path.glob("tensorboard/*/*/events*")} == {"fold0", "fold1"}


def test_each_member_is_trained_by_its_own_settings(dataset: Dataset, tmp_path: Path) -> None:
    """Each is what an ensemble of it alone gives that has these settings for all members."""
    own = [
        {"learning_rate": 1e-4, "loss": "focal", "precision": "fp32", "inner_validation": 0.3},
        {"learning_rate": 5e-3, "loss": "label_smoothing", "precision": "bf16", "augmentation": "flips"},
    ]
    alike = replace(CONFIG.members[0], image_size=24)
    members = tuple(replace(alike, name=f"m{i}", training=settings) for i, settings in enumerate(own))
    train_ensemble(dataset, replace(CONFIG, members=members), tmp_path / "both")
    fits = json.loads((tmp_path / "both" / "training.json").read_text())["fits"]
    for i, (member, settings) in enumerate(zip(members, own, strict=True)):
        alone = replace(
            CONFIG, members=(replace(member, training={}),), training=replace(CONFIG.training, **settings)
        )
        train_ensemble(dataset, alone, tmp_path / member.name)
        found, expected = (
            load_tensors(tmp_path / run / "members" / member.name / "fold0.safetensors")
            for run in ("both", member.name)
        )
        assert all(torch.equal(found[0][name], tensor) for name, tensor in expected[0].items())
        assert found[1]["precision"] == ("32-true", "bf16-mixed")[i]
        document = json.loads((tmp_path / "both" / "members" / member.name / "member.json").read_text())
        assert document["training"].items() >= settings.items()
        assert [fit["inner_score"] is None for fit in fits[member.name]] == [i == 1] * 2
    assert fits["m0"][0]["epoch_losses"] != fits["m1"][0]["epoch_losses"]
