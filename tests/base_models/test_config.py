import pytest

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemberConfig("../a"), "expected a member's name"),
        (lambda: MemberConfig(""), "expected a member's name"),
        (lambda: MemberConfig("a", image_size=8), "expected image_size from 16 to 4096, got 8"),
        (lambda: MemberConfig("a", image_size=10**20), "expected image_size from 16 to 4096"),
        (lambda: TrainingConfig(learning_rate=float("inf")), "expected a finite learning_rate, got inf"),
        (lambda: TrainingConfig(threads_per_fit=10**12), "expected threads_per_fit from 1 to 1024"),
        (lambda: EnsembleConfig((MemberConfig("a"),), part_spread=float("inf")), "a finite part_spread"),
        (lambda: MemberConfig("a", epochs=0), "expected epochs of at least 1, got 0"),
        (lambda: TrainingConfig(batch_size=1), "expected batch_size of at least 2, got 1"),
        (lambda: TrainingConfig(learning_rate=0.0), "expected learning_rate > 0"),
        (lambda: TrainingConfig(frozen_layers=1.5), "expected frozen_layers from 0 to 1"),
        (lambda: TrainingConfig(inner_validation=0.6), "expected inner_validation from 0 to 0.5"),
        (lambda: TrainingConfig(early_stopping=2, schedule="cosine"), "got inner_validation of 0"),
        (lambda: TrainingConfig(early_stopping=2, inner_validation=0.1), "got one_cycle"),
        (lambda: TrainingConfig(augmentation_share=1.1), "expected augmentation_share from 0 to 1, got 1.1"),
        (lambda: EnsembleConfig((MemberConfig("a"),), cache_size=-1), "expected cache_size from 0 to 4096"),
        (lambda: EnsembleConfig((MemberConfig("a"),), drop_below=0.04), "to choose members by"),
        (lambda: EnsembleConfig((MemberConfig("a"),), part_spread=-1.0), "expected part_spread"),
        (lambda: EnsembleConfig((MemberConfig("a"),), oversample=0), "expected oversample of at least 1"),
        (lambda: EnsembleConfig(()), "expected at least one member"),
        (lambda: EnsembleConfig((MemberConfig("a"), MemberConfig("a"))), r"got \['a', 'a'\]"),
        (lambda: EnsembleConfig((MemberConfig("a"),), folds=1), "expected folds of at least 2, got 1"),
    ],
)
def test_impossible_choices_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("cache_size", "side"), [(0, 64), (48, 64), (128, 128)])
def test_radiographs_are_cached_no_smaller_than_a_member_sees_them(cache_size: int, side: int) -> None:
    members = MemberConfig("a", image_size=32), MemberConfig("b", image_size=64)
    assert EnsembleConfig(members, cache_size=cache_size).cached_side == side
