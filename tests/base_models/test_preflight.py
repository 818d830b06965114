import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from base_models import create_model, preflight
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig, ViewAggregation
from base_models.cross_fitting import draw_folds, images_outside_fold, views_of
from base_models.data.loader import derive_seed
from base_models.datasets import Dataset, open_dataset
from base_models.distributed import ProcessGroup
from base_models.imaging.reader import file_digest
from base_models.preflight import check_training
from base_models.storage import save_tensors
from mura_env import Predictions
from tests.base_models.trees import write_mura

CONFIG = EnsembleConfig(
    members=(
        MemberConfig("one", image_size=16, options={"blocks": 1, "width": 4}),
        MemberConfig("two", "resnet18", 32),
    ),
    training=TrainingConfig(precision="fp32"),
    folds=2,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(write_mura(tmp_path_factory.mktemp("data"), {"train": 12, "valid": 6}))


@pytest.fixture(autouse=True)
def _no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def _first(config: EnsembleConfig, **choices: object) -> EnsembleConfig:
    return replace(config, members=(replace(config.members[0], **choices), *config.members[1:]))


def _training(config: EnsembleConfig, **choices: object) -> EnsembleConfig:
    return replace(config, training=replace(config.training, **choices))


def test_a_training_that_can_be_done_passes(dataset: Dataset, tmp_path: Path) -> None:
    source = create_model("attention_cnn", 5, blocks=1, width=4)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    config = _first(_training(CONFIG, inner_validation=0.3), init_weights=str(tmp_path / "w.safetensors"))
    state = torch.random.get_rng_state()
    check_training(dataset, config)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: _first(c, network="alexnet", options={}), "'alexnet' takes, got 16"),
        (lambda c: _first(c, options={"pages": 3}), "does not take the options"),
        (lambda c: _first(c, pretrained=True), "expected a network with published weights"),
        (lambda c: _first(c, init_weights="nowhere.pth"), r"weights, got no file nowhere\.pth"),
        (lambda c: _first(c, init_weights="."), r"weights, got the folder \."),
        (lambda c: _training(c, precision="fp16"), "expected precision fp16 on a GPU"),
        (lambda c: _training(c, inner_validation=0.01), r"one of the \d+ patients outside a fold, got 0\.01"),
        (lambda c: replace(c, devices=2), "expected at most 0 devices"),
        (lambda c: replace(c, folds=20), "expected 2 to 12 folds"),
        (lambda c: replace(c, hard_examples="nowhere"), "expected an earlier run"),
    ],
)
def test_what_cannot_be_done_is_refused(
    dataset: Dataset, change: Callable[[EnsembleConfig], EnsembleConfig], words: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        check_training(dataset, change(CONFIG))


def _fewest_images(dataset: Dataset, config: EnsembleConfig) -> int:
    """The images of the smallest fit, counted in those that `cross_fit` hands on."""
    train = dataset.of_split("train")
    folds = draw_folds(train, config.folds, 0)
    paths = [path for study in dataset.studies for path in study.image_paths]
    rows = {path: row for row, path in enumerate(paths)}
    views = views_of(train, SimpleNamespace(rows=rows))
    share, ones = config.training.inner_validation, np.ones(len(train), dtype=np.int64)
    return min(
        len(
            images_outside_fold(
                train,
                views,
                folds != fold,
                repeats=ones,
                inner_share=share,
                seed=derive_seed(0, "fold", fold),
            ).rows
        )
        for fold in range(config.folds)
    )


@pytest.mark.parametrize("inner_validation", [0.0, 0.3])
def test_batches_that_processes_cannot_share_are_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, inner_validation: float
) -> None:
    monkeypatch.setattr(preflight, "launched_group", lambda: ProcessGroup(1, 2, 1, 2))
    config = _training(CONFIG, inner_validation=inner_validation)
    fewest = _fewest_images(dataset, config)
    shared = replace(config, parallelism="ddp")
    even = fewest - fewest % 2
    check_training(dataset, _training(shared, batch_size=even))
    for refused in (even + 2, 7):
        with pytest.raises(ValueError, match=rf"one batch of {refused} images that 2 processes share evenly"):
            check_training(dataset, _training(shared, batch_size=refused))
        check_training(dataset, _training(config, batch_size=refused))  # whole fits are divided


def test_processes_that_share_batches_have_a_gpu_each(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    shared = replace(CONFIG, parallelism="ddp", training=replace(CONFIG.training, batch_size=8))
    four = ProcessGroup(3, 4, 3, 4)
    monkeypatch.setattr(preflight, "launched_group", lambda: four)
    check_training(dataset, shared)
    with pytest.raises(ValueError, match="expected a GPU for each process that shares batches, got 2 for 4"):
        check_training(dataset, replace(shared, devices=2))
    check_training(dataset, replace(CONFIG, devices=2))  # fits may take turns on a GPU
    monkeypatch.setattr(preflight, "launched_group", lambda: replace(four, world_size=8))
    check_training(dataset, shared)
    monkeypatch.setattr(preflight, "launched_group", lambda: replace(four, world_size=6))
    with pytest.raises(ValueError, match="expected the same number of processes on every machine, got 4"):
        check_training(dataset, CONFIG)


def test_weights_of_another_network_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    save_file(create_model("attention_cnn", width=8).state_dict(), tmp_path / "wide.safetensors")
    with pytest.raises(ValueError, match=r"in .*wide\.safetensors, but it is another network's"):
        check_training(dataset, _first(CONFIG, init_weights=str(tmp_path / "wide.safetensors")))


def test_weights_that_have_seen_the_radiographs_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    network, path = create_model("attention_cnn", blocks=1, width=4), tmp_path / "fold0.safetensors"
    one_of_them = file_digest(dataset.studies[1].image_paths[0].read_bytes())
    config = _first(CONFIG, init_weights=str(path))
    save_tensors(network.state_dict(), path, {"learned_from": ["of other images"]})
    check_training(dataset, config)
    save_tensors(network.state_dict(), path, {"learned_from": ["of other images", one_of_them]})
    with pytest.raises(ValueError, match=r"not seen these radiographs, got .*fold0\.safetensors"):
        check_training(dataset, config)


def test_hard_examples_of_a_run_with_another_split_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    train, test = (dataset.of_split(split) for split in ("train", "test"))
    (tmp_path / "predictions").mkdir()
    for learned, words in ((train[4:], ""), ((*train[4:], test[0]), "got .*learned from 1 of the present")):
        labels = np.array([study.label for study in learned])
        ids = np.array([study.study_id for study in learned])
        table = Predictions.from_arrays(np.zeros((len(ids), 1, 2), np.float32), labels, study_ids=ids)
        table.save(tmp_path / "predictions" / "train.npz")
        with pytest.raises(ValueError, match=words) if words else contextlib.nullcontext():
            check_training(dataset, replace(CONFIG, hard_examples=str(tmp_path)))


def test_members_that_differ_by_seed_are_created_once_and_a_file_is_read_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file(create_model("attention_cnn", blocks=1, width=4).state_dict(), tmp_path / "w.safetensors")
    first = replace(CONFIG.members[0], init_weights=str(tmp_path / "w.safetensors"))
    members = (first, replace(first, name="again", epochs=3), replace(first, name="larger", image_size=24))
    calls = []
    for name in ("meta_network", "read_state_dict"):
        own = getattr(preflight, name)
        monkeypatch.setattr(preflight, name, lambda *a, own=own, name=name: calls.append(name) or own(*a))
    check_training(dataset, replace(CONFIG, members=members))
    assert sorted(calls) == ["meta_network", "meta_network", "read_state_dict"]


def test_a_resumed_run_downloads_nothing(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(network: torch.nn.Module) -> dict[str, torch.Tensor]:
        raise ConnectionError("offline")

    monkeypatch.setattr(preflight, "pretrained_state_dict", download)
    config = _first(CONFIG, network="resnet18", image_size=32, options={}, pretrained=True)
    with pytest.raises(ConnectionError):
        check_training(dataset, config)
    check_training(dataset, config, resume=True)


@pytest.mark.parametrize(
    ("names", "is_refused"),
    [
        (("tear", "fracture", "implant"), True),
        (("normal", "tear", "fracture"), False),
        (("cat", "dog"), False),
    ],
)
@pytest.mark.parametrize("rule", ["maximum", "noisy_or", "mean"])
def test_a_view_aggregation_that_needs_a_normal_class_is_refused_without_one(
    dataset: Dataset, names: tuple[str, ...], is_refused: bool, rule: ViewAggregation
) -> None:
    studies = tuple(replace(study, label=i % len(names)) for i, study in enumerate(dataset.studies))
    named = replace(dataset, class_names=names, studies=studies)
    refused = pytest.raises(ValueError, match=f"expected a normal class for the view aggregation '{rule}'")
    with refused if is_refused and rule != "mean" else contextlib.nullcontext():
        check_training(named, replace(CONFIG, view_aggregation=rule))
