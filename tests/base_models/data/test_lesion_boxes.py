"""Boxes follow their image into its square, through cropping, padding and augmentation."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from base_models.data.augmentation import create_augmentation
from base_models.data.image_cache import open_image_cache
from base_models.data.lesion_boxes import LesionBoxes, boxes_in_squares
from base_models.datasets.study import Box
from base_models.imaging.decoding import SquareFormat

BOX = Box(150, 60, 180, 100)


@pytest.fixture(params=[".png", ".jpg"])
def radiograph(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A grey limb on a wide dark film, with a bright patch where the box is."""
    image = np.full((200, 420), 10, np.uint8)
    image[30:180, 90:260] = 90
    image[int(BOX.y_min) : int(BOX.y_max), int(BOX.x_min) : int(BOX.x_max)] = 240
    path = tmp_path / f"a{request.param}"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 98])
    return path


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("side", [32, 64, 300])
def test_a_box_encloses_what_it_enclosed(radiograph: Path, tmp_path: Path, crop: bool, side: int) -> None:
    cache = open_image_cache([radiograph], SquareFormat(side, crop=crop), tmp_path / "cache")
    boxes = boxes_in_squares({radiograph: (BOX,)}, cache)
    bright = np.argwhere(cache.images[0] > 200)
    (top, left), (bottom, right) = bright.min(axis=0), bright.max(axis=0) + 1
    np.testing.assert_allclose(boxes.corners[0] * side, [left, top, right, bottom], atol=1.01)
    if crop:  # the limb fills more of the square
        plain = open_image_cache([radiograph], SquareFormat(side), tmp_path / "cache")
        assert len(bright) > 2 * (plain.images[0] > 200).sum()


@pytest.mark.parametrize("preset", ["none", "flips", "standard", "moderate", "rlensemble_v1"])
def test_a_mask_moves_with_its_image(preset: str) -> None:
    image = np.full((64, 64), 60, np.uint8)
    boxes = LesionBoxes(np.array([4, 4]), np.array([[0.2, 0.3, 0.4, 0.5], [0.6, 0.6, 0.7, 0.8]], np.float32))
    mask = boxes.masks(64)[4]
    assert mask[19:32, 12:26].all()
    assert mask.mean() < 255 * 0.1
    image[mask > 0] = 250
    augmentation = create_augmentation(preset, 48, side=64)
    seen = 0
    for seed in range(40):
        changed = augmentation.with_masks(seed, image=image, mask=mask)
        np.testing.assert_array_equal(changed["image"], augmentation(image, seed))
        inside = changed["mask"] > 200
        outside = changed["mask"] == 0
        if inside.sum() > 20 and changed["image"].std() > 5:  # neither moved out nor erased
            seen += changed["image"][inside].mean() > changed["image"][outside].mean()
    assert seen >= 34


def test_a_box_beyond_its_image_is_refused(radiograph: Path, tmp_path: Path) -> None:
    cache = open_image_cache([radiograph], SquareFormat(32), tmp_path / "cache")
    boxes_in_squares({radiograph: (Box(0, 0, 421, 201),)}, cache)  # counted from 1
    with pytest.raises(ValueError, match=r"has 420 × 200 pixels, got one to x = 422.5, y = 90"):
        boxes_in_squares({radiograph: (Box(0, 0, 422.5, 90),)}, cache)


def test_images_without_a_box_and_unreadable_ones_have_none(radiograph: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost.png"
    cache = open_image_cache([radiograph, lost], SquareFormat(32), tmp_path / "cache")
    found = boxes_in_squares({lost: (BOX,), tmp_path / "other.png": (BOX,)}, cache)
    assert found.rows.shape == (0,)
    assert found.corners.shape == (0, 4)
    assert found.masks(32) == {}
