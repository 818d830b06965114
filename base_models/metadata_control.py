"""The metadata-only control: how far the labels can be predicted with no pixel seen.

Any figure of the base models stands beside it: what body part, aspect ratio, size, number of views and view
flags alone can tell is not evidence that a network reads radiographs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.datasets.study import Study
from base_models.imaging.decoding import each_image
from base_models.imaging.reader import ImageError, image_size


def feature_groups(
    studies: Sequence[Study], body_part_names: Sequence[str], sizes: Mapping[Path, tuple[int, int]]
) -> dict[str, NDArray[np.float64]]:
    """Return what is known of each study without its pixels: name of a group → (n_studies, n_features).

    `body part` (one column each, 1 or 0), `size and aspect` (means over views of log aspect ratio and log
    number of pixels; of each study at least one file must be in `sizes`), `views` (their number) and
    `metadata` (the data set's, in alphabetical order; 0 where a study lacks one).
    """
    keys = sorted({key for study in studies for key in study.metadata})
    views = [np.array([sizes[path] for path in study.image_paths if path in sizes]) for study in studies]
    logs = [np.log(of_study.astype(np.float64)).T for of_study in views]
    columns = {
        "body part": [[study.body_part == name for name in body_part_names] for study in studies],
        "size and aspect": [[(width - height).mean(), (width + height).mean()] for width, height in logs],
        "views": [[len(of_study)] for of_study in views],
        "metadata": [[study.metadata.get(key, 0.0) for key in keys] for study in studies],
    }
    return {name: np.array(rows, dtype=np.float64) for name, rows in columns.items()}


def metadata_features(studies: Sequence[Study], body_part_names: Sequence[str]) -> NDArray[np.float64]:
    """Return all features of each study, shape (n_studies, n_features); the images' headers are read."""
    paths = [path for study in studies for path in study.image_paths]
    sizes = {}
    for path, size in zip(paths, each_image(paths, image_size), strict=True):
        if isinstance(size, ImageError):
            raise size
        sizes[path] = size
    return np.hstack(list(feature_groups(studies, body_part_names, sizes).values()))


def metadata_logits(
    train: Sequence[Study],
    test: Sequence[Study],
    folds: NDArray[np.int64],
    body_part_names: Sequence[str],
    n_classes: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit the control as the members are fitted: out of fold on the training studies, on all for the test.

    The control is a logistic regression; on FracAtlas trees, forests and products of features were no better.
    Returned are log-probabilities of shapes (n_train, n_classes) and (n_test, n_classes).
    """
    features = metadata_features([*train, *test], body_part_names)
    labels = np.array([study.label for study in train])
    x_train, x_test = features[: len(train)], features[len(train) :]
    out_of_fold = np.empty((len(train), n_classes))
    for fold in np.unique(folds):
        inside = folds == fold
        out_of_fold[inside] = log_probabilities(x_train[~inside], labels[~inside], x_train[inside], n_classes)
    return out_of_fold, log_probabilities(x_train, labels, x_test, n_classes)


def metadata_log_probabilities(
    train: Sequence[Study], other: Sequence[Study], body_part_names: Sequence[str], n_classes: int
) -> NDArray[np.float64]:
    """Fit the control on some studies; log-probabilities of others, shape (n_other, n_classes)."""
    features = metadata_features([*train, *other], body_part_names)
    labels = np.array([study.label for study in train])
    return log_probabilities(features[: len(train)], labels, features[len(train) :], n_classes)


def log_probabilities(
    x: NDArray[np.float64], labels: NDArray[np.int64], x_new: NDArray[np.float64], n_classes: int
) -> NDArray[np.float64]:
    """Fit on (x, labels) and predict x_new; a class without a label gets a negligible probability."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - processes of fits do without it
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, labels)
    result = np.full((len(x_new), n_classes), np.log(1e-7))
    result[:, model.classes_] = np.clip(model.predict_log_proba(x_new), np.log(1e-7), None)
    return result
