from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from base_models.cross_fitting import inner_split
from base_models.datasets.study import Study
from base_models.training.validation import InnerValidation, Score, ValidationImages, score
from mura_env.patient_split import stratified_group_folds


def _studies(n: int) -> list[Study]:
    return [
        Study(
            f"s{i}", f"p{i // 2}", ("hand", "leg")[i % 3 == 0], int(i % 4 > 1), "train", (Path(f"{i}.png"),)
        )
        for i in range(n)
    ]


@given(st.integers(0, 1000), st.sampled_from([0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]))
def test_the_split_is_by_patient_and_holds_both_classes(seed: int, share: float) -> None:
    studies = _studies(120)
    inside = inner_split(studies, share, seed)
    assert inside.mean() == pytest.approx(share, abs=0.09)  # of 60 patients
    patients = [{s.patient_id for s, i in zip(studies, inside, strict=True) if i == side} for side in (0, 1)]
    assert not patients[0] & patients[1]
    for side in (False, True):
        assert {s.label for s, i in zip(studies, inside, strict=True) if i == side} == {0, 1}


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(0.02, 0.5))
def test_any_share_is_what_it_says(seed: int, share: float) -> None:
    studies = _studies(1600)
    inside = inner_split(studies, share, seed)
    assert inside.mean() == pytest.approx(share, abs=0.01)
    for part in ("hand", "leg"):  # stratified
        for label in (0, 1):
            of_stratum = [
                i for s, i in zip(studies, inside, strict=True) if (s.body_part, s.label) == (part, label)
            ]
            assert np.mean(of_stratum) == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("parts", [2, 3, 7, 10, 40])
def test_one_part_of_k_is_the_first_of_k_folds(parts: int) -> None:
    studies = _studies(120)
    strata = [f"{study.body_part}/{study.label}" for study in studies]
    folds = stratified_group_folds(strata, [study.patient_id for study in studies], parts, seed=5)
    np.testing.assert_array_equal(inner_split(studies, 1 / parts, 5), folds == 0)


def test_patients_of_a_rare_stratum_are_on_both_sides() -> None:
    rare = [Study(f"r{i}", f"r{i}", "foot", i % 2, "train", ()) for i in range(10)]
    inside = inner_split([*_studies(400), *rare], 0.45, 0)
    assert 3 <= inside[-10:].sum() <= 6


def test_a_split_without_a_class_is_refused() -> None:
    one = [*_studies(12)[:2], Study("x", "px", "hand", 1, "train", (Path("x.png"),))]
    with pytest.raises(ValueError, match="got none of class"):
        inner_split([*one, *(Study(f"y{i}", f"q{i}", "hand", 0, "train", ()) for i in range(9))], 0.1, 0)


def test_a_share_of_less_than_a_patient_is_refused() -> None:
    words = r"at least one of the 9 patients outside a fold, got 0\.01; take 0\.112 or more"
    with pytest.raises(ValueError, match=words):
        inner_split(_studies(18), 0.01, 0)
    assert round(1 / 0.112) == 9


@given(st.integers(2, 4), st.integers(0, 1000))
def test_scores_equal_plain_loops(n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, 12)])
    logits = rng.normal(size=(len(labels), n_classes)).astype(np.float32)
    probabilities = [np.exp(row.astype(np.float64)) / np.exp(row.astype(np.float64)).sum() for row in logits]
    loss = -np.mean([np.log(p[k]) for p, k in zip(probabilities, labels, strict=True)])
    areas = []
    for k in range(n_classes):
        pairs = [
            (a[k] > b[k]) + 0.5 * (a[k] == b[k])
            for a, x in zip(probabilities, labels, strict=True)
            for b, y in zip(probabilities, labels, strict=True)
            if x == k != y
        ]
        areas.append(np.mean(pairs))
    found = score(logits, labels)
    assert found.loss == pytest.approx(loss)
    assert found.auroc == pytest.approx(areas[1] if n_classes == 2 else np.mean(areas))


def test_patience_counts_epochs_without_a_lower_loss() -> None:
    images = ValidationImages(np.arange(2), np.arange(2))
    inner = InnerValidation(np.zeros((2, 8, 8), np.uint8), images, size=8, patience=2)
    assert not inner.is_over
    over = []
    for epoch, loss in enumerate([0.9, 0.7, 0.7, 0.6, 0.65, 0.6]):
        inner.add(Score(loss, 0.5), {"w": torch.tensor(float(epoch))})
        over.append(inner.is_over)
    assert over == [False, False, False, False, False, True]
    assert (inner.best_epoch, float(inner.best["w"]), inner.kept_score.loss) == (3, 3.0, 0.6)
    endless = InnerValidation(np.zeros((2, 8, 8), np.uint8), images, size=8, patience=0)
    endless.scores = inner.scores
    assert not endless.is_over
    assert endless.kept_score == inner.scores[-1]
