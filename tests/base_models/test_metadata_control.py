from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from base_models.datasets import open_dataset
from base_models.datasets.study import Study
from base_models.metadata_control import metadata_features, metadata_log_probabilities, metadata_logits
from tests.base_models.trees import picture, save_picture


def _studies(folder: Path, n_studies: int) -> list[Study]:
    """Studies whose label is their view flag, with images of different shapes."""
    studies = []
    for i in range(n_studies):
        paths = [folder / f"{i}-{view}.png" for view in range(1 + i % 2)]
        for path in paths:
            save_picture(path, picture(i, shape=(20 + i, 30)))
        label = i % 3 % 2
        metadata = {"flag": float(label), "other": 1.0}
        studies.append(Study(f"{i}", f"{i}", ("hand", "leg")[i % 2], label, "train", tuple(paths), metadata))
    return studies


def test_features_by_hand(tmp_path: Path) -> None:
    features = metadata_features(_studies(tmp_path, 3), ("hand", "leg"))
    for i, row in enumerate(features):
        expected = [
            i % 2 == 0,
            i % 2 == 1,
            np.log(30 / (20 + i)),
            np.log(30 * (20 + i)),
            1 + i % 2,
            i % 3 % 2,
            1.0,
        ]
        np.testing.assert_allclose(row, expected)


def test_the_control_is_out_of_fold_and_equals_a_plain_regression(tmp_path: Path) -> None:
    studies = _studies(tmp_path, 36)
    train, test, folds = studies[:27], studies[27:], np.arange(27) // 9
    out_of_fold, on_test = metadata_logits(train, test, folds, ("hand", "leg"), 2)
    features = metadata_features(studies, ("hand", "leg"))
    labels = np.array([study.label for study in studies])

    def plain(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
        deviation = np.where(x.std(axis=0) > 0, x.std(axis=0), 1)
        x, new = (x - x.mean(axis=0)) / deviation, (new - x.mean(axis=0)) / deviation
        return LogisticRegression(max_iter=1000).fit(x, y).predict_log_proba(new)

    for fold in range(3):
        inside = folds == fold
        expected = plain(features[:27][~inside], labels[:27][~inside], features[:27][inside])
        np.testing.assert_allclose(out_of_fold[inside], expected, atol=1e-4)
    np.testing.assert_allclose(on_test, plain(features[:27], labels[:27], features[27:]), atol=1e-4)
    assert (np.exp(on_test).argmax(axis=1) == labels[27:]).all()
    elsewhere = metadata_log_probabilities(train, test, ("hand", "leg"), 2)
    np.testing.assert_array_equal(elsewhere, on_test)


def test_the_control_reads_headers_only(fracatlas_root: Path) -> None:
    dataset = open_dataset(fracatlas_root)
    train, test = dataset.of_split("train"), dataset.of_split("test")
    before = metadata_logits(train, test, np.arange(len(train)) % 2, dataset.body_part_names, 2)
    for study in dataset.studies:
        save_picture(study.image_paths[0], 255 - picture(999, shape=(64, 48)))
    after = metadata_logits(train, test, np.arange(len(train)) % 2, dataset.body_part_names, 2)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_array_equal(before[1], after[1])
