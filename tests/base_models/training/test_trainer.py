import contextlib
import copy
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard.writer import SummaryWriter

from base_models.config import MemberConfig, TrainingConfig
from base_models.data.lesion_boxes import LesionBoxes
from base_models.data.loader import derive_seed
from base_models.members import seeded_network
from base_models.networks.input_format import GREY
from base_models.prediction import view_logits
from base_models.storage import save_tensors
from base_models.training.checkpoint import EpochState, load_epoch, save_epoch
from base_models.training.device import CPU, DeviceConfig
from base_models.training.optimization import moving_average, one_cycle
from base_models.training.trainer import (
    Scored,
    _batch_seed,
    _refuse_divergence,
    _training_loss,
    _write_curves,
    fit_network,
)
from base_models.training.validation import Score, ValidationImages
from mura_env.errors import UserError
from tests.base_models.trees import picture
from tests.mura_app.test_full_disk import limited_files

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
    monkeypatch.setattr(DeviceConfig, "fabric", lambda *_: None)
    for device in (CPU, DeviceConfig(0)):
        with pytest.raises(InterruptedError):
            _fit(device=device)
    assert pinned == [False, True]


class _Scaled(MixedPrecision):
    """Single precision whose loss is scaled as for fp16, by so much that the first steps overflow."""

    def __init__(self) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=4)
        super().__init__("16-mixed", "cpu", scaler)

    def convert_input(self, data: Any) -> Any:
        return data

    def forward_context(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


class _ScaledDevice(DeviceConfig):
    def fabric(self, _: object) -> Fabric:
        fabric = Fabric(accelerator="cpu", plugins=[_Scaled()])
        fabric.launch()
        return fabric


def test_a_scaled_loss_resumes_with_its_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.base_models.training.test_trainer.WEIGHTS", 16 * WEIGHTS)
    states: list[EpochState] = []
    device = _ScaledDevice()
    whole, losses = _fit(device=device, on_epoch=lambda state: states.append(copy.deepcopy(state)))
    scales = [state.scaler["scale"] for state in states]
    assert scales[0] < 2.0**126  # steps were left out
    assert {state.scaler["_growth_tracker"] for state in states} > {0}
    save_epoch(states[0], tmp_path / "e.safetensors", {})
    start = load_epoch(tmp_path / "e.safetensors", {})
    resumed, again = _fit(device=device, start=start, on_epoch=states.append)
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


@pytest.mark.parametrize("full", [4, 3])
def test_optimizer_steps_of_equal_batches_have_equal_gradients(
    monkeypatch: pytest.MonkeyPatch, full: int
) -> None:
    step, gradients = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        gradients.append(optimizer.param_groups[0]["params"][0].grad.clone())
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    member = replace(MEMBER, epochs=1, options={"blocks": 1, "width": 4, "dropout": 0.0})
    training = TrainingConfig(
        batch_size=4,
        gradient_accumulation=full,
        learning_rate=1e-12,
        augmentation="none",
        precision="fp32",
    )
    fit_network(
        seeded_network(member, 2, 0),
        np.stack([IMAGES[1]] * 24),
        rows=np.arange(24),
        labels=np.ones(24, dtype=np.int64),
        weights=np.ones(24, dtype=np.float32),
        member=member,
        training=training,
        seed=0,
    )
    assert len(gradients) == 2  # of four batches and of the last two, or of three each
    assert float(gradients[0].abs().max()) > 0
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-6)


def test_a_gradient_is_clipped_to_the_maximum_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    step, norms = torch.optim.AdamW.step, []

    def noted(optimizer: torch.optim.AdamW, *arguments: Any, **options: Any) -> Any:
        gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))
        return step(optimizer, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    _fit(training=TrainingConfig(batch_size=8, gradient_clip=1e-3))
    assert norms == pytest.approx([1e-3] * 9, rel=1e-2)


def test_non_finite_losses_and_weights_end_a_training() -> None:
    network = seeded_network(MEMBER, 2, 0)
    _refuse_divergence(network, [0.5], MEMBER)
    with torch.no_grad():
        next(network.parameters()).view(-1)[3] = torch.inf
    with pytest.raises(UserError, match="'tiny' to converge, got non-finite weights in epoch 1; take"):
        _refuse_divergence(network, [0.5], MEMBER)
    with pytest.raises(UserError, match="a mean loss of nan in epoch 2; take a lower"):
        _refuse_divergence(network, [0.5, float("nan")], MEMBER)


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


INTERRUPTED = """
import os, signal, sys
from base_models.training import trainer
from tests.base_models.training.test_trainer import _fit

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
signal.signal(signal.SIGTERM, signal.SIG_DFL)
own_loss, handlers = trainer._training_loss, [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

def interrupting_loss(*arguments):
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    return own_loss(*arguments)

trainer._training_loss = interrupting_loss
_fit()
print("trained on")
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_signals_end_a_training(name: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, name], check=False, capture_output=True, text=True
    )
    assert "trained on" not in process.stdout
    if name == "SIGINT":
        assert "KeyboardInterrupt" in process.stderr
    else:
        assert process.returncode == -signal.SIGTERM, process.stderr


def _marked(n: int = 64, side: int = 48) -> tuple[np.ndarray, np.ndarray, LesionBoxes]:
    """Noise with a faint blot in every second image, whose place the boxes tell."""
    rng, labels = np.random.default_rng(5), np.arange(n) % 2
    images = rng.integers(60, 140, (n, side, side)).astype(np.uint8)
    corners = []
    for row in np.flatnonzero(labels):
        y, x = rng.integers(2, side - 12, 2)
        images[row, y : y + 9, x : x + 9] += 60
        corners.append(np.array([x, y, x + 9, y + 9]) / side)
    return images, labels, LesionBoxes(np.flatnonzero(labels), np.array(corners, np.float32))


def test_boxes_teach_the_attention_where_to_look() -> None:
    images, labels, boxes = _marked()
    member = replace(MEMBER, image_size=48, epochs=20, options={"blocks": 1, "width": 6, "dropout": 0.0})
    training = TrainingConfig(
        batch_size=16, augmentation="none", learning_rate=5e-3, precision="fp32", box_loss=1.0
    )
    hits = []
    for taught in (None, boxes):
        network = seeded_network(member, 2, 0)
        fit_network(
            network,
            images,
            rows=np.arange(64),
            labels=labels,
            weights=np.ones(64, np.float32),
            member=member,
            training=training,
            seed=0,
            boxes=taught,
        )
        with torch.no_grad():
            _, cells = network.forward_map(GREY.planes(torch.from_numpy(images)))
        n_right = 0
        for row, corners in zip(boxes.rows, boxes.corners, strict=True):
            y, x = np.unravel_index(int(cells[row, 0].argmax()), cells.shape[2:])
            centre = (np.array([x, y]) + 0.5) / cells.shape[3]
            n_right += bool((centre >= corners[:2] - 1 / 12).all() and (centre <= corners[2:] + 1 / 12).all())
        hits.append(n_right / len(boxes.rows))
    assert hits[1] > 0.8
    assert hits[0] < hits[1]


def test_a_network_without_a_map_and_a_data_set_without_boxes_train_as_they_did() -> None:
    plain, losses = _fit(1)
    again, others = _fit(1, TrainingConfig(batch_size=8, box_loss=1.0))
    assert losses == others
    _, without = _fit(1, network=torch.nn.Sequential(seeded_network(MEMBER, 2, 1)))  # which has no map
    assert losses == without
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
