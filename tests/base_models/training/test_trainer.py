import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base_models.config import TrainingConfig
from base_models.members import seeded_network
from base_models.prediction import view_logits
from base_models.training.device import CPU, DeviceConfig
from base_models.training.trainer import _refuse_divergence, fit_network
from mura_env.errors import UserError
from tests.base_models.training.small_fits import IMAGES, LABELS, MEMBER, WEIGHTS, fit


def test_training_repeats_bit_for_bit_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  # must stay as they are
    filters = list(warnings.filters)
    (first, losses), (second, again) = fit(), fit()
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
        trained, losses = fit(1, training, member)
    assert len(seen) >= 9  # three epochs of three batches
    assert all(map(all, seen))
    assert all(weights.is_contiguous() for weights in trained.parameters())
    monkeypatch.setattr(torch, "channels_last", torch.contiguous_format)
    contiguous, others = fit(1, training, member)
    np.testing.assert_allclose(losses, others, rtol=1e-4)
    outputs = [view_logits(network, IMAGES, np.arange(24), 16) for network in (trained, contiguous)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=0.02)  # AdamW makes much of a small gradient's rounding
    again = view_logits(trained.to(memory_format=last), IMAGES, np.arange(24), 16)
    np.testing.assert_allclose(again, outputs[0], rtol=0, atol=1e-5)


def test_a_trained_network_is_in_training_mode_when_it_learns_again() -> None:
    network, _ = fit()
    assert not network.training
    statistics = network.bn1.running_mean.clone()
    modes = []
    network.bn1.register_forward_hook(lambda module, *_: modes.append(module.training))
    fit(2, network=network)
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
            fit(device=device)
    assert pinned == [False, True]


def test_seeds_matter() -> None:
    (first, _), (second, _) = fit(1), fit(2)
    assert not torch.equal(first.fc.weight, second.fc.weight)


def test_an_easy_task_is_learned() -> None:
    _, losses = fit(0, TrainingConfig(batch_size=8, augmentation="none"), replace(MEMBER, epochs=25))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow  # as is tested of a fit in a process of its own, which takes as long
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


def test_non_finite_losses_and_weights_end_a_training() -> None:
    network = seeded_network(MEMBER, 2, 0)
    _refuse_divergence(network, [0.5], MEMBER)
    with torch.no_grad():
        next(network.parameters()).view(-1)[3] = torch.inf
    with pytest.raises(UserError, match="'tiny' to converge, got non-finite weights in epoch 1; take"):
        _refuse_divergence(network, [0.5], MEMBER)
    with pytest.raises(UserError, match="a mean loss of nan in epoch 2; take a lower"):
        _refuse_divergence(network, [0.5, float("nan")], MEMBER)


INTERRUPTED = """
import os, signal
from base_models.training import trainer
from tests.base_models.training.small_fits import fit

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
signal.signal(signal.SIGTERM, signal.SIG_DFL)
own_loss, handlers = trainer._training_loss, [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]

def interrupting_loss(*arguments):
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    os.kill(os.getpid(), number)
    return own_loss(*arguments)

trainer._training_loss = interrupting_loss
for number in (signal.SIGINT, signal.SIGTERM):
    if (child := os.fork()) == 0:  # before torch has trained anything
        try:
            fit()
        except KeyboardInterrupt:
            os._exit(130)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_signals_end_a_training() -> None:
    process = subprocess.run([sys.executable, "-c", INTERRUPTED], check=False, capture_output=True, text=True)
    assert process.stdout.split() == ["130", str(-signal.SIGTERM)], process.stderr
