"""The patient in a radiograph: what lies inside the collimation, empty margins and white borders.

Often a quarter of the area shows no patient, while a fracture may be ten pixels wide once the image is
reduced. The box is generous: a limb that is cut off can never be found again.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

WHITE = 245
"""Greys from here on are film borders, markers or metal, and bound no patient."""
DARK = 90
"""A background is at most this bright; where none is, the patient fills the picture."""
RISE = 0.3
"""Where the patient begins: this far from the background's grey to the threshold between dark and bright."""
MIN_AREA = 0.01
"""Share of the picture that a connected part of the patient has at least; smaller ones are markers."""
MARGIN = 0.03
"""Margin around the patient, as a share of the picture's longer side."""
_SIDE = 128  # the longer side at which the patient is looked for; finer detail is noise


class PatientBox(NamedTuple):
    """A part of a picture, in pixels; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int


def patient_box(grey: NDArray[np.uint8]) -> PatientBox:
    """Find the patient in a radiograph of shape (height, width); bright tissue on a dark background.

    Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics 9:62, 1979) parts dark from bright;
    the background is the median of what is dark. The box encloses every connected part that is brighter than
    the background and large enough. A picture in which none is found, or no background, is returned whole.

    Returns:
        The box, never empty.
    """
    height, width = grey.shape
    whole = PatientBox(0, 0, width, height)
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.GaussianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), (3, 3), 0)
    # what lies within two pixels of white is blurred by it
    candidates = cv2.dilate((small >= WHITE).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    greys = small[candidates]
    if not greys.size or greys.min() == greys.max():
        return whole
    threshold, _ = cv2.threshold(greys[:, None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    background = float(np.median(greys[greys <= threshold]))
    if background > DARK:
        return whole
    bright = (small > background + RISE * (threshold - background)) & candidates
    opened = cv2.morphologyEx(bright.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    _, _, found, _ = cv2.connectedComponentsWithStats(opened)
    parts = found[1:][found[1:, cv2.CC_STAT_AREA] >= MIN_AREA * small.size]
    if not len(parts):
        return whole
    corner, extent = parts[:, :2], parts[:, 2:4]
    margin = MARGIN * max(size)
    to_pixels = np.array([width, height]) / size
    left, top = np.floor((corner.min(axis=0) - margin) * to_pixels).astype(int).tolist()
    right, bottom = np.ceil(((corner + extent).max(axis=0) + margin) * to_pixels).astype(int).tolist()
    return PatientBox(max(0, left), max(0, top), min(width, right), min(height, bottom))
