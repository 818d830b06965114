"""The loss of a batch: weights, mixup and the seeds of what is drawn."""

from typing import Any

import numpy as np
import pytest
import torch

from base_models.config import TrainingConfig
from base_models.data.loader import derive_seed
from base_models.members import seeded_network
from base_models.networks.input_format import GREY
from base_models.training.optimization import moving_average
from base_models.training.trainer import Scored, _batch_seed, _training_loss
from tests.base_models.training.small_fits import IMAGES, LABELS, MEMBER

WEIGHTED = np.linspace(0.5, 3, 24)
BATCH = (torch.from_numpy(IMAGES), torch.from_numpy(LABELS), torch.from_numpy(WEIGHTED))


def _loss(network: torch.nn.Module, seed: int = 0, batch: Any = BATCH, **choices: object) -> torch.Tensor:
    training = TrainingConfig(**choices)  # type: ignore[arg-type]
    return _training_loss(Scored(network), batch, training, GREY, lambda purpose: derive_seed(seed, purpose))


def _losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([np.log(np.exp(row).sum()) - row[k] for row, k in zip(logits, labels, strict=True)])


def test_the_loss_is_weighted_and_divided_by_the_batch_size() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    with torch.no_grad():
        loss = _loss(network)
        logits = network(GREY.planes(BATCH[0])).double().numpy()
    assert float(loss) == pytest.approx(np.sum(WEIGHTED * _losses(logits, LABELS)) / 24, rel=1e-5)


def test_mixup_blends_images_and_losses_as_a_function_of_the_seed() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    rng = np.random.default_rng(derive_seed(5, "mixup"))
    share, order = float(rng.beta(0.4, 0.4)), rng.permutation(24)
    planes = GREY.planes(BATCH[0])
    with torch.no_grad():
        found = [float(_loss(network, seed, mixup=0.4)) for seed in (5, 6, 5)]
        logits = network(share * planes + (1 - share) * planes[order]).double().numpy()
    own = np.sum(WEIGHTED * _losses(logits, LABELS)) / 24
    partner = np.sum(WEIGHTED[order] * _losses(logits, LABELS[order])) / 24
    assert found[0] == pytest.approx(share * own + (1 - share) * partner, rel=1e-5)
    assert found[0] == found[2] != found[1]


def test_dropout_masks_are_functions_of_the_seed() -> None:
    network = seeded_network(MEMBER, 2, 0).train()
    losses = []
    for seed in (0, 0, 1):
        losses.append(float(_loss(network, seed).detach()))
        torch.rand(3)  # whatever the global generator does
    assert losses[0] == losses[1] != losses[2]


def test_each_batch_of_each_process_has_seeds_of_its_own() -> None:
    seeds = {
        _batch_seed(seed, batch, rank, purpose)
        for seed in range(2)
        for batch in range(3)
        for rank in range(2)
        for purpose in ("dropout", "mixup")
    }
    assert len(seeds) == 24


def test_no_other_gpu_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)  # as torch.manual_seed does
    _loss(seeded_network(MEMBER, 2, 0).train())
    assert seeded == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU, for which a CPU might wait, is needed")
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_step_does_not_wait_for_the_gpu(mixup: float) -> None:
    network = seeded_network(MEMBER, 2, 0).train().cuda()
    batch = tuple(part.cuda() for part in BATCH)
    average = moving_average(network, 0.9)
    _loss(network, mixup=mixup, batch=batch)  # the first one sets libraries up
    average.update_parameters(network)
    state = torch.cuda.get_rng_state()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _loss(network, 1, mixup=mixup, batch=batch).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(torch.cuda.get_rng_state(), state)
