"""How well labels can be predicted without looking at an image: from its size, its aspect, its body part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from base_models.audit.scan import ScannedImage
from base_models.datasets.study import Study
from base_models.metadata_control import feature_groups, log_probabilities
from mura_env.auroc import auroc_within

LEAST_STUDIES = 5
"""Test studies of each side (normal, not normal) without which no figure is given."""
_FEATURES = {
    "size and aspect": ("size and aspect",),
    "body part": ("body part",),
    "size, aspect and body part": ("size and aspect", "body part"),
}
"""Name of a figure → the groups of features that it is predicted from."""


def find_shortcuts(studies: Sequence[Study], images: Mapping[Path, ScannedImage]) -> dict[str, Any]:
    """Fit the metadata-only control on the training split and score the test split.

    A figure far above 0.5 within body parts means that a network could score without reading radiographs.

    Args:
        studies: Studies of both splits.
        images: The readable files.

    Returns:
        For `size and aspect`, `body part` and both together: `auroc` of normal against all other studies, and
        `auroc_within_parts`, the mean over body parts weighted by pairs. Only a `reason` where there are too
        few studies.
    """
    known = [study for study in studies if any(path in images for path in study.image_paths)]
    parts = [study.body_part for study in known]
    abnormal = np.array([study.label > 0 for study in known], dtype=bool)
    test = np.array([study.split == "test" for study in known], dtype=bool)
    fewest = min(np.sum(test & abnormal), np.sum(test & ~abnormal))
    if fewest < LEAST_STUDIES or len(set(abnormal[~test].tolist())) < 2:
        return {"reason": f"fewer than {LEAST_STUDIES} test studies of a class, or one class to learn from"}
    sizes = {path: (image.width, image.height) for path, image in images.items()}
    groups = feature_groups(known, sorted(set(parts)), sizes)
    found: dict[str, Any] = {}
    for name, chosen in _FEATURES.items():
        features = np.hstack([groups[group] for group in chosen])
        scores = log_probabilities(features[~test], abnormal[~test].astype(np.int64), features[test], 2)[:, 1]
        found[name] = {
            "auroc": auroc_within(abnormal[test], scores, np.zeros(len(scores))),
            "auroc_within_parts": auroc_within(abnormal[test], scores, np.array(parts)[test]),
        }
    return found
