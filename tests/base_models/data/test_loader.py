import multiprocessing
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from base_models.data.augmentation import create_augmentation
from base_models.data.lesion_boxes import LesionBoxes
from base_models.data.loader import EpochBatches, TrainingImages, training_batches
from base_models.distributed import ProcessGroup
from tests.base_models.trees import picture
from tests.processors import processors

IMAGES = np.stack([picture(seed, shape=(32, 32)) for seed in range(20)])
ROWS = np.array([3, 5, 7, 11, 13, 17, 19, 2, 4, 6])
LABELS = np.arange(10) % 2
WEIGHTS = np.linspace(0.5, 2, 10, dtype=np.float32)


def _samples(preset: str = "standard") -> TrainingImages:
    return TrainingImages(IMAGES, ROWS, LABELS, WEIGHTS, create_augmentation(preset, 24), seed=9)


def test_an_epoch_visits_each_image_once_in_an_order_of_its_own() -> None:
    batches = EpochBatches(50, 10, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        batches.epoch = epoch
        keys = [key for batch in batches for key in batch]
        assert {key[0] for key in keys} == {epoch}
        assert sorted(key[1] for key in keys) == list(range(50))
        orders.append([key[1] for key in keys])
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize(("n_images", "sizes"), [(11, [4, 4]), (12, [4, 4, 4]), (3, [3])])
def test_the_last_incomplete_batch_is_dropped_unless_it_is_alone(n_images: int, sizes: list[int]) -> None:
    batches = EpochBatches(n_images, 4, seed=1)
    assert [len(batch) for batch in batches] == sizes
    assert len(batches) == len(sizes)


def test_processes_share_each_batch() -> None:
    whole = list(EpochBatches(16, 4, seed=1))
    parts = [list(EpochBatches(16, 4, seed=1, group=ProcessGroup(rank, 2))) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert len(first) == len(second) == 2
        assert sorted(first + second) == sorted(batch)


def test_samples_are_images_of_their_rows() -> None:
    samples = _samples("none")
    for index in range(len(samples)):
        image, label, weight = samples[0, index]
        np.testing.assert_array_equal(image.numpy(), create_augmentation("none", 24)(IMAGES[ROWS[index]], 0))
        assert (label, weight) == (LABELS[index], WEIGHTS[index])


def test_a_mapped_cache_goes_to_other_processes_by_the_name_of_its_file(tmp_path: Path) -> None:
    large = np.concatenate([IMAGES] * 50)
    np.save(tmp_path / "images.npy", large)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    augmentation = create_augmentation("standard", 24)
    for images, fewest, most in ((mapped, 0, 50_000), (large, large.nbytes, np.inf)):
        samples = TrainingImages(images, ROWS, LABELS, WEIGHTS, augmentation, seed=9)
        sent = pickle.dumps(samples)
        assert fewest < len(sent) < most
        for received, kept in zip(pickle.loads(sent)[1, 4], samples[1, 4], strict=True):  # noqa: S301  # own
            assert np.array_equal(received, kept)


@pytest.mark.parametrize("n_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_draws_depend_neither_on_worker_processes_nor_on_resumption(n_workers: int) -> None:
    def epoch_of(loader: DataLoader, epoch: int) -> torch.Tensor:
        loader.batch_sampler.epoch = epoch
        return torch.cat([batch[0] for batch in loader])

    whole = training_batches(_samples(), 4, seed=9)
    epochs = [epoch_of(whole, epoch) for epoch in range(3)]
    assert not torch.equal(epochs[0], epochs[1])
    resumed = training_batches(_samples(), 4, seed=9)
    assert torch.equal(epoch_of(resumed, 2), epochs[2])
    context = multiprocessing.get_context("spawn")
    batches = EpochBatches(10, 4, seed=9)
    with processors(2):  # torch warns of more workers than that
        workers = DataLoader(
            _Rebuilt(), batch_sampler=batches, num_workers=n_workers, multiprocessing_context=context
        )
        assert torch.equal(epoch_of(workers, 2), epochs[2])


def test_processes_that_prepare_batches_keep_opencv_to_one_core() -> None:
    threads = cv2.getNumThreads()
    prepare = training_batches(_samples(), 4, seed=9, processes=1).worker_init_fn
    try:
        cv2.setNumThreads(2)
        prepare(0)
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(threads)


class _Rebuilt(TrainingImages):
    """Samples that are built anew in the process that they are sent to."""

    def __init__(self) -> None:
        super().__init__(IMAGES, ROWS, LABELS, WEIGHTS, create_augmentation("standard", 24), seed=9)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return _Rebuilt, ()


def test_only_batches_for_a_gpu_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # a GPU that the fit does not use
    assert not training_batches(_samples(), 4, seed=9).pin_memory
    assert training_batches(_samples(), 4, seed=9, pinned=True).pin_memory


def test_iterating_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    assert len(list(training_batches(_samples(), 4, seed=9))) == 2
    assert len(list(training_batches(_samples(), 64, seed=9))) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_with_boxes_tell_where_and_whether_it_is_known() -> None:
    boxes = LesionBoxes(np.array([5, 5, 11]), np.array([[0, 0, 0.25, 0.5]] * 3, np.float32))
    augmentation = create_augmentation("none", 16)
    samples = TrainingImages(IMAGES, ROWS, LABELS, WEIGHTS, augmentation, seed=9, boxes=boxes)
    for index, row in enumerate(ROWS.tolist()):
        image, label, _, mask, is_known = samples[0, index]
        assert image.shape == mask.shape == (16, 16)
        assert is_known == (row in {5, 11} or label == 0)
        np.testing.assert_array_equal(mask[:8, :4], 255 if row in {5, 11} else 0)
        assert not mask[8:].any()
        assert not mask[:, 4:].any()


def test_phases_of_the_epochs_have_weights_of_their_own() -> None:
    phases = np.stack([WEIGHTS, 10 * WEIGHTS])
    augmentation = create_augmentation("none", 24)
    samples = TrainingImages(IMAGES, ROWS, LABELS, phases, augmentation, seed=9, epochs=5)
    assert [samples[epoch, 0][2] for epoch in range(5)] == [0.5, 0.5, 0.5, 5.0, 5.0]
