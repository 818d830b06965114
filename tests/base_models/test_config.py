import json
from dataclasses import replace
from typing import Any

import pytest

from base_models.config import (
    EnsembleConfig,
    MemberConfig,
    TrainingConfig,
    ensemble_document,
    ensemble_from_document,
)
from base_models.presets import PRESETS
from mura_env.errors import UserError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemberConfig("../a"), "expected a member's name"),
        (lambda: MemberConfig(""), "expected a member's name"),
        (lambda: MemberConfig("a", image_size=8), r"expected image_size in the range \[16, 4096\], got 8"),
        (lambda: MemberConfig("a", image_size=10**20), r"expected image_size in the range \[16, 4096\]"),
        (
            lambda: TrainingConfig(learning_rate=float("inf")),
            r"learning_rate in the range \(0, 10\], got inf",
        ),
        (
            lambda: TrainingConfig(threads_per_fit=10**12),
            r"threads_per_fit in the range \[1, 1024\]",
        ),
        (lambda: EnsembleConfig((MemberConfig("a"),), part_bias_std=float("inf")), "expected part_bias_std"),
        (lambda: MemberConfig("a", epochs=0), r"expected epochs in the range \[1, 100000\], got 0"),
        (lambda: TrainingConfig(batch_size=1), r"expected batch_size in the range \[2, 65536\], got 1"),
        (lambda: TrainingConfig(learning_rate=0.0), r"learning_rate in the range \(0, 10\]"),
        (lambda: TrainingConfig(frozen_layers=1.5), r"expected frozen_layers in the range \[0, 1\]"),
        (lambda: TrainingConfig(inner_validation=0.6), r"expected inner_validation in the range \[0, 0.5\]"),
        (lambda: TrainingConfig(early_stopping=2, schedule="cosine"), "got inner_validation of 0"),
        (lambda: TrainingConfig(early_stopping=2, inner_validation=0.1), "got one_cycle"),
        (
            lambda: TrainingConfig(augmentation_share=1.1),
            r"augmentation_share in the range \[0, 1\], got 1.1",
        ),
        (
            lambda: EnsembleConfig((MemberConfig("a"),), cache_size=-1),
            r"cache_size in the range \[0, 4096\]",
        ),
        (lambda: EnsembleConfig((MemberConfig("a"),), drop_below=0.04), "to choose members by"),
        (lambda: EnsembleConfig((MemberConfig("a"),), part_bias_std=-1.0), "expected part_bias_std"),
        (
            lambda: EnsembleConfig((MemberConfig("a"),), oversample=0),
            r"oversample in the range \[1, 1000\]",
        ),
        (lambda: EnsembleConfig(()), "expected at least one member"),
        (lambda: EnsembleConfig((MemberConfig("a"), MemberConfig("a"))), r"got \['a', 'a'\]"),
        (
            lambda: EnsembleConfig((MemberConfig("a"),), folds=1),
            r"folds in the range \[2, 1000\], got 1",
        ),
    ],
)
def test_impossible_choices_are_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(("cache_size", "side"), [(0, 64), (48, 64), (128, 128)])
def test_radiographs_are_cached_no_smaller_than_a_member_sees_them(cache_size: int, side: int) -> None:
    members = MemberConfig("a", image_size=32), MemberConfig("b", image_size=64)
    assert EnsembleConfig(members, cache_size=cache_size).cached_side == side


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_an_ensemble_survives_the_way_through_json(preset: str) -> None:
    first, *rest = PRESETS[preset].members
    config = replace(PRESETS[preset], members=(replace(first, training={"loss": "focal", "ema": 0.9}), *rest))
    assert ensemble_from_document(json.loads(json.dumps(ensemble_document(config)))) == config


def test_fields_that_a_document_lacks_have_their_defaults() -> None:
    members = ({"name": "a", "training": {"learning_rate": 1}},)
    assert ensemble_from_document({"members": list(members)}) == EnsembleConfig(
        (MemberConfig("a", training={"learning_rate": 1}),)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": True}, r"expected another ensemble\.folds, got True: .*integer"),
        ({"folds": 1}, r"folds in the range \[2, 1000\], got 1 \(in ensemble\)"),
        ({"fold": 3}, r"only fields that exist, got ensemble\.fold; correct or remove it"),
        ({"members": None}, r"expected another ensemble\.members, got None"),
        (
            {"training": {"loss": "hinge"}},
            r"expected another ensemble\.training\.loss, got 'hinge': .*'focal'",
        ),
        ({"training": {"learning_rate": "1e-3"}}, r"ensemble\.training\.learning_rate, got '1e-3'"),
        (
            {"training": {"learning_rate": float("nan")}},
            r"learning_rate in the range \(0, 10\], got nan \(in ensemble\.training",
        ),
        ({"members": [{}]}, r"expected the field ensemble\.members\.0\.name, got a document without it; add"),
        (
            {"members": [{"name": "a", "epochs": 0}]},
            r"epochs in the range \[1, 100000\], got 0 \(in ensemble\.members\.0\)",
        ),
        (
            {"members": [{"name": "a", "training": {"los": "focal"}}]},
            r"got members\.a\.training\.los; correct",
        ),
        (
            {"members": [{"name": "a", "training": {"ema": "much"}}]},
            r"another members\.a\.training\.ema, got",
        ),
        (
            {"members": [{"name": "a", "training": {"ema": 2.0}}]},
            r"ema in the range \[0, 1\), got 2.* \(in members\.a\.training",
        ),
    ],
)
def test_a_document_is_refused_with_the_name_of_the_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ensemble_from_document({"members": [{"name": "a"}], **change})


def test_a_member_has_its_own_settings_and_the_ensembles_for_the_rest() -> None:
    own = MemberConfig("own", training={"learning_rate": 1e-4, "loss": "focal", "precision": "fp32"})
    config = EnsembleConfig((own, MemberConfig("other")), TrainingConfig(ema=0.9, learning_rate=1e-2))
    assert config.training_of(config.members[1]) == config.training
    assert config.training_of(own) == TrainingConfig(
        ema=0.9, learning_rate=1e-4, loss="focal", precision="fp32"
    )


def test_members_are_compared_on_the_same_share_of_patients() -> None:
    members = MemberConfig("a"), MemberConfig("b", training={"inner_validation": 0.2})
    with pytest.raises(UserError, match=r"inner_validation of 0\.1, 0\.2"):
        EnsembleConfig(members, TrainingConfig(inner_validation=0.1), drop_below=0.05)
