from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.networks.input_format import GREY
from base_models.training.lightning_module import ImageClassifier, Length
from base_models.training.trainer import fit_network
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
MEMBER = MemberConfig("tiny", image_size=16, options={"blocks": 1, "width": 4, "dropout": 0.5})
WEIGHTS = np.linspace(0.5, 3, 24)
BATCH = (torch.from_numpy(IMAGES), torch.from_numpy(LABELS), torch.from_numpy(WEIGHTS))


def _module(network: torch.nn.Module, seed: int = 0, **choices: object) -> ImageClassifier:
    training = replace(TrainingConfig(), **choices)  # type: ignore[arg-type]
    return ImageClassifier(network, training=training, length=Length(1, 1), seed=seed)


def _losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([np.log(np.exp(row).sum()) - row[k] for row, k in zip(logits, labels, strict=True)])


def test_the_loss_is_weighted_and_divided_by_the_batch_size() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    with torch.no_grad():
        loss = _module(network).training_step(BATCH, 0)
        logits = network(GREY.planes(BATCH[0])).double().numpy()
    assert float(loss) == pytest.approx(np.sum(WEIGHTS * _losses(logits, LABELS)) / 24, rel=1e-5)


def test_mixup_blends_images_and_losses_as_a_function_of_seed_and_batch() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    module = _module(network, seed=5, mixup=0.4)
    share, order = module._mixing(24)
    assert 0 < share < 1
    assert sorted(order.tolist()) == list(range(24))
    planes = GREY.planes(BATCH[0])
    with torch.no_grad():
        found = [float(module.training_step(BATCH, 0)) for _ in range(2)]
        again = float(_module(network, seed=5, mixup=0.4).training_step(BATCH, 0))
        logits = network(share * planes + (1 - share) * planes[order]).double().numpy()
    own = np.sum(WEIGHTS * _losses(logits, LABELS)) / 24
    partner = np.sum(WEIGHTS[order] * _losses(logits, LABELS[order])) / 24
    assert found[0] == pytest.approx(share * own + (1 - share) * partner, rel=1e-5)
    assert found[0] == again != found[1]


def test_dropout_masks_are_functions_of_seed_and_batch() -> None:
    network = seeded_network(MEMBER, 2, 0).train()
    losses = []
    for seed in (0, 0, 1):
        losses.append(float(_module(network, seed).training_step(BATCH, 0).detach()))
        torch.rand(3)  # whatever the global generator does
    assert losses[0] == losses[1] != losses[2]


def test_no_other_gpu_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)  # as torch.manual_seed does
    network = seeded_network(MEMBER, 2, 0).train()
    _module(network).training_step(BATCH, 0)
    assert seeded == []


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="a GPU, for which a processor might wait, is needed"
)
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_step_does_not_wait_for_the_gpu(mixup: float) -> None:
    network = seeded_network(MEMBER, 2, 0).train()
    module = _module(network, mixup=mixup).cuda()
    batch = tuple(part.cuda() for part in BATCH)
    module.training_step(batch, 0)  # the first one sets libraries up
    state = torch.cuda.get_rng_state()
    torch.cuda.set_sync_debug_mode("error")
    try:
        module.training_step(batch, 1).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_only_matrices_and_kernels_decay() -> None:
    network = seeded_network(MEMBER, 2, 0)
    decayed, kept = _module(network).configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


def test_the_length_counts_a_short_last_step() -> None:
    assert Length(epochs=3, batches=5, accumulate=2).steps == 9
    assert Length(epochs=3, batches=4, accumulate=2).steps == 6


def test_a_step_of_fewer_batches_follows_their_mean_too() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    length = Length(epochs=1, batches=6, accumulate=4)
    module = ImageClassifier(network, training=TrainingConfig(accumulate=4), length=length, seed=0)
    with torch.no_grad():
        losses = [float(module.training_step(BATCH, batch)) for batch in range(6)]
    assert losses == pytest.approx(
        [losses[0]] * 4 + [2 * losses[0]] * 2
    )  # of which Lightning takes a quarter
    assert [float(loss) for loss in module._losses] == pytest.approx([losses[0]] * 6)


def test_steps_of_an_epoch_that_accumulate_equal_batches_have_equal_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, gradients = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        # Lightning computes the gradient inside of the closure
        result = step(optimizer, *arguments, **options)
        gradients.append(optimizer.param_groups[0]["params"][0].grad.clone())
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    member = replace(MEMBER, epochs=1, options={"blocks": 1, "width": 4, "dropout": 0.0})
    fit_network(
        seeded_network(member, 2, 0),
        np.stack([IMAGES[1]] * 24),
        rows=np.arange(24),
        labels=np.ones(24, dtype=np.int64),
        weights=np.ones(24, dtype=np.float32),
        member=member,
        training=TrainingConfig(
            batch_size=4, accumulate=4, learning_rate=1e-12, augmentation="none", precision="fp32"
        ),
        seed=0,
    )
    full, short = gradients  # of four batches and of two
    assert float(full.abs().max()) > 0
    torch.testing.assert_close(short, full, rtol=1e-3, atol=1e-6)


def test_infinite_losses_and_weights_end_a_training() -> None:
    module = _module(seeded_network(MEMBER, 2, 0))
    module.epoch_losses.append(0.5)
    module._check_finite()
    with torch.no_grad():
        next(module.network.parameters()).view(-1)[3] = torch.inf
    with pytest.raises(FloatingPointError, match="weights that are not finite behind epoch 1"):
        module._check_finite()
    module.epoch_losses.append(float("nan"))
    with pytest.raises(FloatingPointError, match="a mean loss of nan in epoch 2"):
        module._check_finite()
