import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from base_models.configuration import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.training import (
    ImageClassifier,
    autocast_precision,
    class_weights,
    fit_network,
    normalise,
    one_cycle,
)
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
MEMBER = MemberConfig("tiny", image_size=16, epochs=3, options={"blocks": 1, "width": 4, "dropout": 0.5})


def _fit(seed: int = 1, training: TrainingConfig | None = None) -> tuple[torch.nn.Module, list[float]]:
    network = seeded_network(MEMBER, 2, seed)
    losses = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        n_classes=2,
        member=MEMBER,
        training=training or TrainingConfig(batch_size=8),
        seed=seed,
    )
    return network, losses


def test_training_repeats_bit_for_bit_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  # must stay as they are
    filters = list(warnings.filters)
    (first, losses), (second, again) = _fit(), _fit()
    assert losses == again
    assert len(losses) == 3
    for (name, a), b in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not first.training
    assert torch.equal(torch.get_rng_state(), state[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert warnings.filters == filters
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_seeds_matter() -> None:
    (first, _), (second, _) = _fit(1), _fit(2)
    assert not torch.equal(first.fc.weight, second.fc.weight)


def test_an_easy_task_is_learned() -> None:
    network = seeded_network(MEMBER, 2, 0)
    member = MemberConfig("tiny", image_size=16, epochs=25, options=MEMBER.options)
    training = TrainingConfig(batch_size=8, augmentation="none")
    losses = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        n_classes=2,
        member=member,
        training=training,
        seed=0,
    )
    assert losses[-1] < 0.5 * losses[0]


def test_the_loss_is_weighted_and_divided_by_the_batch_size() -> None:
    network = seeded_network(MEMBER, 2, 0).eval()
    weights = np.array([0.5, 3.0], dtype=np.float32)
    module = ImageClassifier(network, training=TrainingConfig(), weights=weights, n_steps=1, seed=0)
    labels = torch.from_numpy(LABELS)
    with torch.no_grad():
        loss = module.training_step((torch.from_numpy(IMAGES), labels), 0)
        logits = network(normalise(torch.from_numpy(IMAGES))).double().numpy()
    expected = 0.0
    for row, label in zip(logits, LABELS, strict=True):
        expected += weights[label] * (np.log(np.exp(row).sum()) - row[label])
    assert float(loss) == pytest.approx(expected / len(LABELS), rel=1e-5)


def test_dropout_masks_are_functions_of_seed_and_step() -> None:
    network = seeded_network(MEMBER, 2, 0).train()
    batch = (torch.from_numpy(IMAGES), torch.from_numpy(LABELS))
    weights = np.ones(2, dtype=np.float32)
    losses = []
    for seed in (0, 0, 1):
        module = ImageClassifier(network, training=TrainingConfig(), weights=weights, n_steps=1, seed=seed)
        losses.append(float(module.training_step(batch, 0).detach()))
        torch.rand(3)  # whatever the global generator does
    assert losses[0] == losses[1] != losses[2]


def test_only_matrices_and_kernels_decay() -> None:
    network = seeded_network(MEMBER, 2, 0)
    module = ImageClassifier(
        network, training=TrainingConfig(), weights=np.ones(2, dtype=np.float32), n_steps=1, seed=0
    )
    decayed, kept = module.configure_optimizers()["optimizer"].param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


def test_class_weights_by_hand() -> None:
    np.testing.assert_allclose(class_weights(np.array([0, 0, 0, 1]), 2), [4 / 6, 2])
    np.testing.assert_allclose(class_weights(np.array([0, 1]), 2), [1, 1])
    np.testing.assert_allclose(class_weights(np.array([0, 0, 2]), 3), [0.75, 0, 1.5])


@pytest.mark.parametrize(("n_steps", "warm_up"), [(100, 0.25), (4, 0.25), (1, 0.5), (2, 0.9)])
def test_the_learning_rate_rises_to_its_peak_and_falls(n_steps: int, warm_up: float) -> None:
    rates = [one_cycle(step, n_steps, warm_up) for step in range(n_steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(0.04)
    if n_steps == 100:
        assert (peak, rates[25]) == (25, 1.0)
        assert rates[100] == pytest.approx(0)


def test_inputs_are_normalised() -> None:
    planes = normalise(torch.from_numpy(IMAGES))
    assert planes.shape == (24, 1, 24, 24)
    np.testing.assert_allclose(planes[:, 0].numpy(), (IMAGES / 255 - 0.25) / 0.25, atol=1e-5)


def test_the_arithmetic_is_one_that_lightning_knows() -> None:
    assert autocast_precision() in {"bf16-mixed", "32-true"}
