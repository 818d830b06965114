from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from base_models.training.checkpoint import Elapsed, EpochState, load_shared_epoch, save_epoch


@dataclass
class _Later:
    """A process behind the first one, which goes on behind epoch `epochs`."""

    epochs: int
    is_first: bool = False

    def share(self, value: int) -> int:
        assert value == 0  # it has not looked by itself
        return self.epochs

    together = staticmethod(nullcontext)


def test_every_process_goes_on_behind_the_epoch_of_the_first(tmp_path: Path) -> None:
    path, facts = tmp_path / "fold0.epoch.safetensors", {"fingerprint": "f"}
    for epochs in (1, 2):
        state = EpochState(epochs, epochs, (0.5,) * epochs, Elapsed(), {"w": torch.ones(2)}, {}, {})
        save_epoch(state, path, facts)
    found = load_shared_epoch(path, facts, _Later(2))
    assert found is not None
    assert found.epochs == 2
    assert load_shared_epoch(path, facts, _Later(0)) is None  # the first one has found nothing
    with pytest.raises(ValueError, match=r"go on behind epoch 3 of .* as the first one"):
        load_shared_epoch(path, facts, _Later(3))
