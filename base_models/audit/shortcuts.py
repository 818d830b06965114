"""How well labels can be predicted without looking at a picture: from its size, its aspect, its body part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from base_models.audit.scan import Picture
from base_models.datasets.study import Study

LEAST_STUDIES = 5
"""Test studies of each side (normal, not normal) without which no figure is given."""


def find_shortcuts(studies: Sequence[Study], pictures: Mapping[Path, Picture]) -> dict[str, Any]:
    """Fit small trees to what is known without a pixel on the training split and score the test split.

    A figure far above 0.5 within body parts means that a network could score without reading radiographs.

    Args:
        studies: Studies of both splits.
        pictures: The readable files.

    Returns:
        For `size and aspect`, `body part` and both together: `auroc` of normal against all other studies, and
        `auroc_within_parts`, the mean over body parts weighted by pairs. Only a `reason` where there are too
        few studies.
    """
    known = [study for study in studies if any(path in pictures for path in study.image_paths)]
    parts = np.array([study.body_part for study in known])
    abnormal = np.array([study.label > 0 for study in known], dtype=bool)
    test = np.array([study.split == "test" for study in known], dtype=bool)
    fewest = min([np.sum(test & abnormal), np.sum(test & ~abnormal)])
    if fewest < LEAST_STUDIES or len(set(abnormal[~test].tolist())) < 2:
        return {"reason": f"fewer than {LEAST_STUDIES} test studies of a class, or one class to learn from"}
    shape = _shape_features(known, pictures)
    one_hot = np.array([[float(part == name) for name in np.unique(parts)] for part in parts])
    features = {
        "size and aspect": shape,
        "body part": one_hot,
        "size, aspect and body part": np.hstack([shape, one_hot]),
    }
    found: dict[str, Any] = {}
    for name, x in features.items():
        trees = HistGradientBoostingClassifier(
            max_iter=60,
            max_leaf_nodes=8,
            min_samples_leaf=int(np.clip(np.sum(~test) // 10, 2, 20)),
            early_stopping=False,
            random_state=0,
        )
        # Trees this small gain nothing by threads, and on busy cores OpenMP's wait for each other, spinning.
        with threadpool_limits(1, "openmp"):
            scores = trees.fit(x[~test], abnormal[~test]).predict_proba(x[test])[:, 1]
        found[name] = {
            "auroc": float(roc_auc_score(abnormal[test], scores)),
            "auroc_within_parts": within_groups(abnormal[test], scores, parts[test]),
        }
    return found


def within_groups(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], groups: NDArray[np.str_]
) -> float | None:
    """Return the AUROC over pairs of one group each, None where no group has both sides."""
    ranked, pairs = 0.0, 0
    for group in np.unique(groups):
        inside = groups == group
        n = int(positive[inside].sum()) * int((~positive[inside]).sum())
        if n:
            ranked += n * float(roc_auc_score(positive[inside], scores[inside]))
            pairs += n
    return ranked / pairs if pairs else None


def _shape_features(studies: Sequence[Study], pictures: Mapping[Path, Picture]) -> NDArray[np.float64]:
    """Return the mean and the spread over views of log width, log height and their difference."""
    rows = []
    for study in studies:
        views = [pictures[path] for path in study.image_paths if path in pictures]
        sizes = np.log([[view.width, view.height] for view in views])
        columns = np.column_stack([sizes, sizes[:, 0] - sizes[:, 1]])
        rows.append(np.concatenate([columns.mean(axis=0), np.ptp(columns, axis=0)]))
    return np.array(rows)
