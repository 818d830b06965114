import warnings

import pytest

from agents.parallel import TrainingInterrupted, whole_trainings


def test_an_interrupt_that_a_training_took_is_passed_on():
    with pytest.raises(KeyboardInterrupt, match="after 5 steps"), whole_trainings():
        warnings.warn("interrupted after 5 steps", TrainingInterrupted, stacklevel=1)


def test_other_warnings_and_errors_are_left_alone():
    with pytest.warns(UserWarning, match="something else"), whole_trainings():
        warnings.warn("something else", UserWarning, stacklevel=1)
    with pytest.raises(ValueError, match="an error"), whole_trainings():
        raise ValueError("an error")
