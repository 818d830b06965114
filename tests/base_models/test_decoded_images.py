from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from base_models.data.image_cache import open_image_cache
from base_models.imaging.decoding import SquareFormat
from base_models.prediction import decode_images
from tests.base_models.trees import picture, save_picture

PADDED = SimpleNamespace(square_format=SquareFormat(24))
STRETCHED = SimpleNamespace(square_format=SquareFormat(16, "stretched"))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.{'jpg' if number % 2 else 'png'}" for number in range(70)]
    for number, path in enumerate(paths):
        save_picture(path, picture(number))
    paths[3].write_bytes(paths[3].read_bytes()[:40])
    return [*paths, tmp_path / "nowhere.png"]


def test_images_are_decoded_as_each_member_takes_them(paths: list[Path], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    decoded = decode_images([PADDED, STRETCHED, PADDED], paths, lambda *call: calls.append(call))
    assert calls == [("reading radiographs", number, 71) for number in (0, 64, 71)]
    cached = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    np.testing.assert_array_equal(decoded.of_member(PADDED), cached.images)
    assert decoded.rows == cached.rows
    assert decoded.unreadable == cached.unreadable
    assert set(decoded.unreadable) == {paths[3], paths[70]}
    assert decoded.of_member(STRETCHED).shape == (71, 16, 16)
    expected = cv2.resize(picture(0), (16, 16), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(decoded.of_member(STRETCHED)[0], expected)
    assert not decoded.of_member(STRETCHED)[[3, 70]].any()
