"""One image with a normal and an abnormal study of every body part."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from base_models.synthetic.study import CASES, draw_study

_CELL = (214, 190)  # height and width of the space for one film
_HEADER = 22


def contact_sheet(seed: int = 0, zoom: int = 1) -> npt.NDArray[np.uint8]:
    """Draw one patient per body part, above as a normal and below as an abnormal study.

    Args:
        seed: Seed of the patients.
        zoom: Whole number by which films are enlarged.

    Returns:
        Greyscale image, shape (height, width), dark background, parts and abnormalities written in.
    """
    columns = []
    for number, part in enumerate(CASES):
        source = np.random.SeedSequence(seed, spawn_key=(number,))
        # the commonest abnormality of a part stands for it
        kind = max(CASES[part].kinds, key=lambda name: CASES[part].kinds[name])
        normal, abnormal = draw_study(part, source, 0), draw_study(part, source, 1, kind=kind)
        cells = [_cell(normal.images[0], part, zoom), _cell(abnormal.images[0], kind, zoom)]
        columns.append(np.concatenate(cells))
    return np.concatenate(columns, axis=1)


def _cell(image: npt.NDArray[np.uint8], title: str, zoom: int) -> npt.NDArray[np.uint8]:
    """Centre a film below its title."""
    height, width = _CELL
    cell = np.zeros(((height + _HEADER) * zoom, width * zoom), np.uint8)
    film = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)[
        : height * zoom, : width * zoom
    ]
    top = _HEADER * zoom + (height * zoom - film.shape[0]) // 2
    left = (width * zoom - film.shape[1]) // 2
    cell[top : top + film.shape[0], left : left + film.shape[1]] = film
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * zoom
    (extent, _), _ = cv2.getTextSize(title, font, size, 1)
    cv2.putText(cell, title, ((width * zoom - extent) // 2, 15 * zoom), font, size, 235, 1, cv2.LINE_AA)
    return cell
