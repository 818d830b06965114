import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from base_models.configuration import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.training import autocast_precision, fit_network
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
WEIGHTS = np.ones(24, dtype=np.float32)
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
MEMBER = MemberConfig("tiny", image_size=16, epochs=3, options={"blocks": 1, "width": 4, "dropout": 0.5})


def _fit(seed: int = 1, training: TrainingConfig | None = None) -> tuple[torch.nn.Module, list[float]]:
    network = seeded_network(MEMBER, 2, seed)
    losses = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        weights=WEIGHTS,
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
        weights=WEIGHTS,
        member=member,
        training=training,
        seed=0,
    )
    assert losses[-1] < 0.5 * losses[0]


def test_the_arithmetic_is_one_that_lightning_knows() -> None:
    assert autocast_precision() in {"bf16-mixed", "32-true"}
