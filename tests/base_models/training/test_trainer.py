import contextlib
import copy
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from base_models.config import MemberConfig, TrainingConfig
from base_models.members import seeded_network
from base_models.prediction import view_logits
from base_models.storage import save_tensors
from base_models.training.checkpoint import EpochState, load_epoch, save_epoch
from base_models.training.device import PROCESSOR, Placement
from base_models.training.optimization import one_cycle
from base_models.training.trainer import autocast_precision, fit_network
from base_models.training.validation import ValidationImages
from tests.base_models.trees import picture

LABELS = np.arange(24) % 2
WEIGHTS = np.ones(24, dtype=np.float32)
IMAGES = np.stack([picture(seed, label, (24, 24)) for seed, label in enumerate(LABELS)])
MEMBER = MemberConfig("tiny", image_size=16, epochs=3, options={"blocks": 1, "width": 4, "dropout": 0.5})


def _fit(
    seed: int = 1,
    training: TrainingConfig | None = None,
    member: MemberConfig = MEMBER,
    network: torch.nn.Module | None = None,
    **choices: object,
) -> tuple[torch.nn.Module, list[float]]:
    network = network or seeded_network(member, 2, seed)
    history = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        weights=WEIGHTS,
        member=member,
        training=training or TrainingConfig(batch_size=8),
        seed=seed,
        **choices,
    )
    return network, history.epoch_losses


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


def test_training_is_channels_last_which_changes_only_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    forward = torch.nn.Conv2d.forward

    def noted(layer: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if layer.training and layer.in_channels > 1:  # with one plane, both formats are the same
            formats = images.is_contiguous(memory_format=last), layer.weight.is_contiguous(memory_format=last)
            assert not images.is_contiguous()
            seen.append(formats)
        return forward(layer, images)

    last, training = torch.channels_last, TrainingConfig(batch_size=8, precision="fp32")
    member = replace(MEMBER, options={**MEMBER.options, "dropout": 0.0})  # masks follow the order in memory
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Conv2d, "forward", noted)
        trained, losses = _fit(1, training, member)
    assert len(seen) >= 9  # three epochs of three batches
    assert all(map(all, seen))
    assert all(weights.is_contiguous() for weights in trained.parameters())
    monkeypatch.setattr(torch, "channels_last", torch.contiguous_format)
    contiguous, others = _fit(1, training, member)
    np.testing.assert_allclose(losses, others, rtol=1e-4)
    outputs = [view_logits(network, IMAGES, np.arange(24), 16) for network in (trained, contiguous)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=0.02)  # AdamW makes much of a small gradient's rounding
    again = view_logits(trained.to(memory_format=last), IMAGES, np.arange(24), 16)
    np.testing.assert_allclose(again, outputs[0], rtol=0, atol=1e-5)


def test_a_trained_network_is_in_training_mode_when_it_learns_again() -> None:
    network, _ = _fit()
    assert not network.training
    statistics = network.bn1.running_mean.clone()
    modes = []
    network.bn1.register_forward_hook(lambda module, *_: modes.append(module.training))
    _fit(2, network=network)
    assert modes == [True] * 9  # three epochs of three batches
    assert not torch.equal(network.bn1.running_mean, statistics)
    assert not network.training


def test_batches_are_pinned_for_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = []

    def noted(*_: object, **options: object) -> None:
        pinned.append(options["pinned"])
        raise InterruptedError

    monkeypatch.setattr("base_models.training.trainer.training_batches", noted)
    for placement in (PROCESSOR, Placement(0)):
        with pytest.raises(InterruptedError):
            _fit(placement=placement)
    assert pinned == [False, True]


class _Scaled(MixedPrecision):
    """Single precision whose loss is scaled as for fp16, by so much that the first steps overflow."""

    def __init__(self) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=4)
        super().__init__("16-mixed", "cpu", scaler)

    def forward_context(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _ScaledPlacement(Placement):
    def trainer_options(self) -> dict[str, Any]:
        options = super().trainer_options()
        return {**options, "plugins": [*options["plugins"], _Scaled()]}


def test_a_loss_that_is_scaled_goes_on_from_its_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("base_models.training.trainer.autocast_precision", lambda *_: None)  # the plugin's
    monkeypatch.setattr("tests.base_models.training.test_trainer.WEIGHTS", 16 * WEIGHTS)
    states: list[EpochState] = []
    place = _ScaledPlacement()
    whole, losses = _fit(placement=place, on_epoch=lambda state: states.append(copy.deepcopy(state)))
    scales = [state.scaler["scale"] for state in states]
    assert scales[0] < 2.0**126  # steps were left out
    assert {state.scaler["_growth_tracker"] for state in states} > {0}
    save_epoch(states[0], tmp_path / "e.safetensors", {})
    start = load_epoch(tmp_path / "e.safetensors", {})
    resumed, again = _fit(placement=place, start=start, on_epoch=states.append)
    assert again == losses
    assert states[-1].scaler == states[2].scaler
    for (name, tensor), other in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name


def test_seeds_matter() -> None:
    (first, _), (second, _) = _fit(1), _fit(2)
    assert not torch.equal(first.fc.weight, second.fc.weight)


def test_an_easy_task_is_learned() -> None:
    network = seeded_network(MEMBER, 2, 0)
    member = MemberConfig("tiny", image_size=16, epochs=25, options=MEMBER.options)
    training = TrainingConfig(batch_size=8, augmentation="none")
    history = fit_network(
        network,
        IMAGES,
        rows=np.arange(24),
        labels=LABELS,
        weights=WEIGHTS,
        member=member,
        training=training,
        seed=0,
    )
    assert history.epoch_losses[-1] < 0.5 * history.epoch_losses[0]


def test_the_arithmetic_is_one_that_lightning_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert autocast_precision("auto", cpu) in {"bf16-mixed", "32-true"}
    assert [autocast_precision(name, gpu) for name in ("bf16", "fp16", "fp32")] == [
        "bf16-mixed",
        "16-mixed",
        "32-true",
    ]
    for supported, name in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda yes=supported, **_: yes)
        assert autocast_precision("auto", gpu) == name
    with pytest.raises(ValueError, match="expected precision fp16 on a GPU"):
        autocast_precision("fp16", cpu)


def test_processes_that_prepare_batches_change_no_bit(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    weights = []
    for processes in (0, 1):
        network = seeded_network(MEMBER, 2, 1)
        fit_network(
            network,
            np.load(tmp_path / "images.npy", mmap_mode="r"),
            rows=np.arange(24),
            labels=LABELS,
            weights=WEIGHTS,
            member=replace(MEMBER, epochs=2),
            training=TrainingConfig(batch_size=8, loader_processes=processes),
            seed=1,
        )
        weights.append(network.state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


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
    _, states = _validated(tmp_path, accumulate=2)
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


def test_the_curve_of_the_rate_is_what_the_optimizer_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = torch.optim.lr_scheduler.LambdaLR
    monkeypatch.setattr(
        torch.optim.lr_scheduler,
        "LambdaLR",
        lambda optimizer, rate: schedule(optimizer, lambda step: 0.5**step),
    )
    _validated(tmp_path)
    rates = [event.value for event in EventAccumulator(str(tmp_path)).Reload().Scalars("lr-AdamW")]
    np.testing.assert_allclose(
        rates, [TrainingConfig().learning_rate * 0.5**step for step in range(6)], rtol=1e-6
    )


def test_frozen_layers_of_weights_from_elsewhere_stay_bit_for_bit(tmp_path: Path) -> None:
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
