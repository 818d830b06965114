"""Thumbnails of images, written into a page itself."""

import base64
from collections.abc import Collection
from pathlib import Path

import cv2

from base_models.datasets import Dataset
from base_models.imaging.decoding import fit_into_square
from base_models.imaging.reader import ImageError, read_grey

SIDE = 96
"""Side of a study's thumbnail in pixels."""


def thumbnail(path: Path, side: int) -> str | None:
    """Return an image as a square JPEG in a `data:` address; None if it cannot be read."""
    try:
        square = fit_into_square(read_grey(path, at_least=2 * side), side)
    except ImageError:
        return None
    jpeg = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def study_thumbnails(dataset: Dataset, study_ids: Collection[str]) -> dict[str, str]:
    """Draw the first view of each of some studies, by study id, where it can be read."""
    wanted = {
        study.study_id: study.image_paths[0] for study in dataset.studies if study.study_id in study_ids
    }
    drawn = {study_id: thumbnail(path, SIDE) for study_id, path in wanted.items()}
    return {study_id: address for study_id, address in drawn.items() if address is not None}
