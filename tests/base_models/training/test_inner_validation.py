"""Early stopping on inner validation images, and the curves that are written meanwhile."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.prediction import view_logits
from base_models.storage import save_tensors
from base_models.training.optimization import one_cycle
from base_models.training.trainer import _write_curves, fit_network
from base_models.training.validation import Score, ValidationImages
from tests.base_models.training.small_fits import IMAGES, LABELS, MEMBER, WEIGHTS
from tests.mura_app.test_full_disk import limited_files

VALIDATION = ValidationImages(np.arange(16, 24), LABELS[16:])


def _validated(
    tmp_path: Path, member: MemberConfig = MEMBER, **choices: object
) -> tuple[torch.nn.Module, list]:
    """Train on the first 16 images and return the network and the states behind the epochs."""
    network, states = seeded_network(member, 2, 1), []
    history = fit_network(
        network,
        IMAGES,
        rows=np.arange(16),
        labels=LABELS[:16],
        weights=WEIGHTS[:16],
        member=member,
        training=TrainingConfig(batch_size=8, inner_validation=0.3, **choices),  # type: ignore[arg-type]
        seed=1,
        on_epoch=lambda state: states.append(copy.deepcopy(state)),
        validation=VALIDATION,
        log_folder=tmp_path,
    )
    assert (
        history.inner_score == states[-1].scores[-1 if not choices.get("early_stopping") else _best(states)]
    )
    return network, states


@pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning")
def test_curves_that_do_not_fit_on_the_disk_are_told_with_their_folder(tmp_path: Path) -> None:
    with limited_files(100), pytest.raises(OSError, match=f"File too large: '{tmp_path}'"):
        _validated(tmp_path)


def _best(states: list) -> int:
    return int(np.argmin([score.loss for score in states[-1].scores]))


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_early_stopping_keeps_the_best_epoch_and_its_network_scores_so(tmp_path: Path, ema: float) -> None:
    member = replace(MEMBER, epochs=40)
    choices = {"schedule": "constant", "early_stopping": 2, "learning_rate": 0.02, "ema": ema}
    network, states = _validated(tmp_path, member, **choices)
    losses, best = [score.loss for score in states[-1].scores], _best(states)
    assert best + 3 == len(losses) < 40  # two epochs without a lower loss, then the end
    state = states[best]
    kept = state.average if ema else state.network
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in kept.items())
    logits = view_logits(network, IMAGES, VALIDATION.rows, 16).astype(np.float64)
    by_hand = [np.log(np.exp(row).sum()) - row[k] for row, k in zip(logits, VALIDATION.labels, strict=True)]
    assert losses[best] == pytest.approx(np.mean(by_hand), rel=1e-6)


def test_looking_at_the_inner_validation_changes_no_bit(tmp_path: Path) -> None:
    looked, _ = _validated(tmp_path)
    network = seeded_network(MEMBER, 2, 1)
    fit_network(
        network,
        IMAGES,
        rows=np.arange(16),
        labels=LABELS[:16],
        weights=WEIGHTS[:16],
        member=MEMBER,
        training=TrainingConfig(batch_size=8),
        seed=1,
    )
    assert all(torch.equal(looked.state_dict()[name], value) for name, value in network.state_dict().items())


def test_curves_are_written_under_lightnings_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step, rates = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        rates.append(optimizer.param_groups[-1]["lr"])
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    _, states = _validated(tmp_path, gradient_accumulation=2)
    events = EventAccumulator(str(tmp_path)).Reload()
    curves = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    epoch_curves = {"epoch", "train_loss_epoch", "val_loss", "val_auroc"}
    assert set(curves) == {"train_loss_step", "lr-AdamW", *epoch_curves}
    assert all(list(curves[tag]) == [1, 2, 3] for tag in curves)  # two batches of a step, one step an epoch
    np.testing.assert_allclose(list(curves["train_loss_epoch"].values()), states[-1].epoch_losses, rtol=1e-6)
    np.testing.assert_allclose(list(curves["lr-AdamW"].values()), rates, rtol=1e-6)
    expected = [TrainingConfig().learning_rate * one_cycle(step, 3, 0.25) for step in range(3)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert [curves["val_loss"][e + 1] for e in range(3)] == pytest.approx(
        [score.loss for score in states[-1].scores]
    )


def test_frozen_layers_of_pretrained_weights_stay_bit_for_bit(tmp_path: Path) -> None:
    save_tensors(seeded_network(MEMBER, 2, 7).state_dict(), tmp_path / "w.safetensors", {})
    for file, share, learns in ((str(tmp_path / "w.safetensors"), 1.0, False), ("", 0.0, True)):
        member = replace(MEMBER, init_weights=file)
        before = {name: value.clone() for name, value in seeded_network(member, 2, 1).state_dict().items()}
        network, _ = _validated(tmp_path / "curves", member, frozen_layers=share)
        changed = {
            name for name, value in network.state_dict().items() if not torch.equal(value, before[name])
        }
        assert {"fc.weight", "fc.bias"} <= changed
        assert ("conv1.weight" in changed) == ("bn1.running_mean" in changed) == learns
        assert learns or changed == {"fc.weight", "fc.bias"}


def test_curves_of_a_killed_training_end_where_it_resumes(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path), purge_step=1) as killed:
        for epoch in range(3):
            _write_curves(
                killed,
                epoch=epoch,
                last_step=2 * epoch + 2,
                losses=[9.0, 9.0],
                rates=[0.1, 0.1],
                score=Score(9.0, 0.5),
            )
    with SummaryWriter(str(tmp_path), purge_step=5) as resumed:
        _write_curves(resumed, epoch=2, last_step=6, losses=[1.0, 3.0], rates=[0.2, 0.1], score=None)
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = [(event.step, event.value) for event in events.Scalars("train_loss_step")]
    assert steps == [(1, 9.0), (2, 9.0), (3, 9.0), (4, 9.0), (5, 1.0), (6, 3.0)]
    assert [(event.step, event.value) for event in events.Scalars("train_loss_epoch")][-1] == (6, 2.0)
    assert [event.step for event in events.Scalars("val_loss")] == [2, 4]
