"""The curves of a fit for TensorBoard, under the names that Lightning gives them."""

from collections.abc import Sequence
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from base_models.inner_validation import Score


class TrainingLog:
    """Writes one fit's curves over its optimisation steps.

    Args:
        folder: Where TensorBoard looks for them.
        first_step: Steps that are already done; curves of a killed training end there.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def write_epoch(
        self, epoch: int, last_step: int, losses: Sequence[float], rates: Sequence[float], score: Score | None
    ) -> None:
        """Write what an epoch has brought.

        Args:
            epoch: Its number, from 0.
            last_step: Number of its last step, from 1.
            losses: Loss of each of its steps.
            rates: Learning rate of each of its steps.
            score: What the inner validation says behind it.
        """
        first = last_step - len(losses) + 1
        for step, (loss, rate) in enumerate(zip(losses, rates, strict=True), start=first):
            self._writer.add_scalar("train_loss_step", loss, step)
            self._writer.add_scalar("lr-AdamW", rate, step)
        self._writer.add_scalar("epoch", epoch, last_step)
        self._writer.add_scalar("train_loss_epoch", sum(losses) / len(losses), last_step)
        if score is not None:
            self._writer.add_scalar("val_loss", score.loss, last_step)
            self._writer.add_scalar("val_auroc", score.auroc, last_step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
