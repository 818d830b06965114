import pytest

from base_models.configuration import EnsembleConfig, MemberConfig, TrainingConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemberConfig("../a"), "expected a member's name"),
        (lambda: MemberConfig(""), "expected a member's name"),
        (lambda: MemberConfig("a", image_size=8), "expected image_size of at least 16, got 8"),
        (lambda: MemberConfig("a", epochs=0), "expected epochs of at least 1, got 0"),
        (lambda: TrainingConfig(batch_size=1), "expected batch_size of at least 2, got 1"),
        (lambda: TrainingConfig(learning_rate=0.0), "expected learning_rate > 0"),
        (lambda: EnsembleConfig(()), "expected at least one member"),
        (lambda: EnsembleConfig((MemberConfig("a"), MemberConfig("a"))), r"got \['a', 'a'\]"),
        (lambda: EnsembleConfig((MemberConfig("a"),), folds=1), "expected folds of at least 2, got 1"),
    ],
)
def test_impossible_choices_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
