"""Thumbnails of studies, written into the page itself."""

import base64
import io
from collections.abc import Collection

from PIL import Image

from base_models.datasets import Dataset
from base_models.imaging.decoding import fit_into_square
from base_models.imaging.reader import ImageError, read_grey

SIDE = 96
"""Side of a thumbnail in pixels."""

_QUALITY = 70


def study_thumbnails(dataset: Dataset, study_ids: Collection[str]) -> dict[str, str]:
    """Draw the first view of each of some studies.

    Args:
        dataset: Where the studies lie.
        study_ids: The studies to draw.

    Returns:
        Study id → JPEG as a `data:` address. Studies that the data set does not have, or whose image cannot
        be read, are left out.
    """
    wanted = set(study_ids)
    thumbnails = {}
    for study in dataset.studies:
        if study.study_id not in wanted:
            continue
        try:
            image = fit_into_square(read_grey(study.image_paths[0], at_least=2 * SIDE), SIDE)
        except ImageError:
            continue  # the run has said which images it could not read
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG", quality=_QUALITY)
        encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
        thumbnails[study.study_id] = f"data:image/jpeg;base64,{encoded}"
    return thumbnails
