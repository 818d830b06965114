from pathlib import Path

import numpy as np

from base_models.cross_fitting import Views, images_outside_fold
from base_models.datasets.study import Study

STUDIES = [
    Study(f"s{i}", f"p{i // 2}", ("hand", "leg")[i % 2], int(i % 4 > 1), "train", (Path(f"{i}.png"),))
    for i in range(40)
]
COUNTS = np.arange(40) % 3 + 1
VIEWS = Views(1000 + np.arange(COUNTS.sum()), np.repeat(np.arange(40), COUNTS))
OUTSIDE = np.arange(40) // 2 % 4 != 1


def test_each_study_outside_the_fold_is_shown_as_often_as_it_is_hard() -> None:
    repeats = np.where(np.arange(40) % 5 == 0, 3, 1)
    images = images_outside_fold(STUDIES, VIEWS, OUTSIDE, repeats=repeats, inner_share=0.0, seed=0)
    assert images.validation is None
    expected = [
        (row, STUDIES[study].label, STUDIES[study].body_part == "leg")
        for row, study in zip(VIEWS.rows, VIEWS.study, strict=True)
        if OUTSIDE[study]
        for _ in range(repeats[study])
    ]
    found = zip(images.rows, images.labels, images.body_parts, strict=True)
    assert list(found) == expected


def test_the_inner_validation_shares_no_patient_with_training_and_none_with_the_fold() -> None:
    ones = np.ones(40, np.int64)
    images = images_outside_fold(STUDIES, VIEWS, OUTSIDE, repeats=3 * ones, inner_share=0.25, seed=0)
    study_of_row = dict(zip(VIEWS.rows.tolist(), VIEWS.study.tolist(), strict=True))
    learned = {study_of_row[row] for row in images.rows.tolist()}
    checked = {study_of_row[row] for row in images.validation.rows.tolist()}
    assert learned | checked == set(np.flatnonzero(OUTSIDE).tolist())
    assert not {i // 2 for i in learned} & {i // 2 for i in checked}
    assert len(images.validation.rows) == sum(COUNTS[i] for i in checked)  # each of them once
    labels = [STUDIES[study_of_row[row]].label for row in images.validation.rows.tolist()]
    assert images.validation.labels.tolist() == labels
