"""What a radiograph's pixels are like, in numbers: what a reader would note of it, and how its greys lie."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from base_models.imaging.appearance import without_margins

NOTES = ("aspect", "brightness", "sharpness", "metal")
"""What `image_notes` gives."""
THUMBNAIL = 12
"""Side of the small copy that `thumbnail` gives."""
CELLS = 8
"""Cells a side in which `gradients` counts."""
DIRECTIONS = 8
"""Directions that it tells apart, from 0 (brighter to the right) clockwise."""

_SIDE = 128
_NEIGHBOURHOOD = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
_STANDS_OUT = 60
_GREYS = 16
_SCALES = (32, 64)
_GRADIENT_SIDE = 64

Floats = NDArray[np.float32]


def image_notes(square: NDArray[np.uint8]) -> tuple[float, float, float, float]:
    """Return what a reader would note of a radiograph in its square: aspect, brightness, sharpness, metal.

    Aspect is the log of width over height; brightness the mean grey of the patient, 0 to 1; sharpness the log
    of the variance of the Laplacian; metal the share of the patient that is brighter than its neighbourhood
    by a quarter of the range (white top-hat). On FracAtlas's training images the latter tells those with
    hardware by an AUROC of 0.77.
    """
    height, width = without_margins(square).shape
    image = _scaled(square, _SIDE)
    patient = image > 8
    if not patient.any():
        return 0.0, 0.0, 0.0, 0.0
    sharpness = np.log1p(cv2.Laplacian(image, cv2.CV_64F)[patient].var())
    stands_out = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, _NEIGHBOURHOOD) > _STANDS_OUT
    metal = stands_out.sum() / patient.sum()
    return float(np.log(width / height)), image[patient].mean() / 255, float(sharpness), float(metal)


def pixel_statistics(square: NDArray[np.uint8]) -> Floats:
    """Describe an image: `thumbnail`, the root of the shares of 16 greys, roughness, notes; shape (166,).

    Roughness is the log of the mean absolute Laplacian, at 32 and at 64 pixels; the notes are `image_notes`.
    """
    greys = np.sqrt(np.bincount(square.ravel() // (256 // _GREYS), minlength=_GREYS) / square.size)
    roughness = [
        math.log(1e-3 + float(np.abs(cv2.Laplacian(_scaled(square, side), cv2.CV_32F)).mean()))
        for side in _SCALES
    ]
    columns = [*thumbnail(square).ravel(), *greys, *roughness, *image_notes(square)]
    return np.array(columns, dtype=np.float32)


def thumbnail(square: NDArray[np.uint8]) -> Floats:
    """Return a small copy of an image, shape (12, 12), values from 0 to 1."""
    return _scaled(square, THUMBNAIL).astype(np.float32) / np.float32(255)


def gradients(square: NDArray[np.uint8]) -> Floats:
    """Return the root of each cell's and direction's share of an image's gradients, shape (8, 8, 8).

    Axes are rows and columns of cells, and directions, between which a gradient is divided. Histograms of
    oriented gradients (Dalal and Triggs, CVPR 2005), here with the sign of the direction, which turns round
    with the image, and without their blocks.
    """
    image = cv2.GaussianBlur(_scaled(square, _GRADIENT_SIDE).astype(np.float32), (0, 0), 1)
    right, down = cv2.Sobel(image, cv2.CV_32F, 1, 0), cv2.Sobel(image, cv2.CV_32F, 0, 1)
    length = np.hypot(right, down)
    direction = np.mod(np.arctan2(down, right) / (2 * np.pi) * DIRECTIONS, DIRECTIONS)
    first = direction.astype(np.int64)
    beyond = direction - first
    row, column = np.indices(length.shape) * CELLS // _GRADIENT_SIDE
    cell = (row * CELLS + column) * DIRECTIONS
    found = np.zeros(CELLS * CELLS * DIRECTIONS)
    for near, share in ((first, 1 - beyond), (first + 1, beyond)):
        places = (cell + near % DIRECTIONS).ravel()
        found += np.bincount(places, (length * share).ravel(), len(found))
    shares = np.sqrt(found / max(found.sum(), 1e-6))
    return np.asarray(shares.reshape(CELLS, CELLS, DIRECTIONS), dtype=np.float32)


def _scaled(square: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8)
