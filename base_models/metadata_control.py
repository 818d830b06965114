"""The metadata-only control: how far the labels can be predicted with no pixel seen.

Any figure of the base models stands beside it: what body part, aspect ratio, size, number of views and view
flags alone can tell is not evidence that a network reads radiographs.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from base_models.datasets.study import Study
from base_models.imaging.reader import image_size


def metadata_features(studies: Sequence[Study], body_part_names: Sequence[str]) -> NDArray[np.float64]:
    """Return what is known of each study without its pixels.

    Columns: one per body part (1 or 0), the mean over views of log aspect ratio and log number of pixels,
    the number of views, and the data set's metadata in alphabetical order (0 where a study lacks one).

    Returns:
        Array of shape (n_studies, n_features).
    """
    keys = sorted({key for study in studies for key in study.metadata})
    with ThreadPoolExecutor() as pool:
        sizes = list(
            pool.map(lambda study: np.array([image_size(path) for path in study.image_paths]), studies)
        )
    rows = []
    for study, size in zip(studies, sizes, strict=True):
        width, height = np.log(size.astype(np.float64)).T
        rows.append(
            [float(study.body_part == name) for name in body_part_names]
            + [float((width - height).mean()), float((width + height).mean()), float(len(size))]
            + [float(study.metadata.get(key, 0.0)) for key in keys]
        )
    return np.array(rows)


def metadata_logits(
    train: Sequence[Study],
    test: Sequence[Study],
    folds: NDArray[np.int64],
    body_part_names: Sequence[str],
    n_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the control as the members are fitted: out of fold on the training studies, on all for the test.

    The control is a logistic regression; on FracAtlas trees, forests and products of features were no better.

    Args:
        train: Training studies.
        test: Test studies.
        folds: Fold of each training study, shape (n_train,).
        body_part_names: Names of the body parts.
        n_classes: Number of classes.

    Returns:
        Log-probabilities of shapes (n_train, n_classes) and (n_test, n_classes).
    """
    features = metadata_features([*train, *test], body_part_names)
    labels = np.array([study.label for study in train])
    x_train, x_test = features[: len(train)], features[len(train) :]
    out_of_fold = np.empty((len(train), n_classes))
    for fold in np.unique(folds):
        inside = folds == fold
        out_of_fold[inside] = _log_probabilities(
            x_train[~inside], labels[~inside], x_train[inside], n_classes
        )
    return out_of_fold, _log_probabilities(x_train, labels, x_test, n_classes)


def metadata_log_probabilities(
    train: Sequence[Study], other: Sequence[Study], body_part_names: Sequence[str], n_classes: int
) -> NDArray[np.float64]:
    """Fit the control on some studies and ask it for others, such as those of another data set.

    Returns:
        Log-probabilities of the others, shape (n_other, n_classes).
    """
    features = metadata_features([*train, *other], body_part_names)
    labels = np.array([study.label for study in train])
    return _log_probabilities(features[: len(train)], labels, features[len(train) :], n_classes)


def _log_probabilities(
    x: NDArray[np.float64], labels: NDArray[np.int64], x_new: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Fit on (x, labels) and predict x_new; a class without a label gets a negligible probability."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, labels)
    log_probabilities = np.full((len(x_new), n_classes), np.log(1e-7))
    log_probabilities[:, model.classes_] = np.clip(model.predict_log_proba(x_new), np.log(1e-7), None)
    return log_probabilities
