from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from base_models.training.lightning_module import TrainingLog
from base_models.training.validation import Score


def test_curves_of_a_killed_training_end_where_it_goes_on(tmp_path: Path) -> None:
    killed = TrainingLog(tmp_path)
    for epoch in range(3):
        killed.write_epoch(epoch, 2 * epoch + 2, [9.0, 9.0], [0.1, 0.1], Score(9.0, 0.5))
    killed.close()
    resumed = TrainingLog(tmp_path, first_step=4)
    resumed.write_epoch(2, 6, [1.0, 3.0], [0.2, 0.1], None)
    resumed.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    steps = [(event.step, event.value) for event in events.Scalars("train_loss_step")]
    assert steps == [(1, 9.0), (2, 9.0), (3, 9.0), (4, 9.0), (5, 1.0), (6, 3.0)]
    assert [(event.step, event.value) for event in events.Scalars("train_loss_epoch")][-1] == (6, 2.0)
    assert [event.step for event in events.Scalars("val_loss")] == [2, 4]
