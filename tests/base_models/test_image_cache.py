import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.image_cache import fit_into_square, open_image_cache
from base_models.images import read_grey
from tests.base_models.trees import picture, save_picture


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        save_picture(path, picture(i, shape=(60 + i, 40)))
    return paths


def test_rows_hold_the_fitted_images(paths: list[Path], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    cache = open_image_cache(paths, 24, tmp_path / "cache", lambda *call: calls.append(call))
    assert cache.images.shape == (5, 24, 24)
    assert cache.images.dtype == np.uint8
    assert calls[-1] == ("reading radiographs", 5, 5)
    for path in paths:
        np.testing.assert_array_equal(cache.images[cache.rows[path]], fit_into_square(read_grey(path), 24))


def test_an_unchanged_cache_is_not_built_again(paths: list[Path], tmp_path: Path) -> None:
    first = open_image_cache(paths, 24, tmp_path / "cache")
    written = first.file.stat().st_mtime_ns
    assert open_image_cache(paths, 24, tmp_path / "cache").file == first.file
    assert first.file.stat().st_mtime_ns == written


def test_changed_files_sizes_and_orders_have_their_own_cache(paths: list[Path], tmp_path: Path) -> None:
    files = {open_image_cache(paths, 24, tmp_path / "cache").file}
    files.add(open_image_cache(paths, 32, tmp_path / "cache").file)
    files.add(open_image_cache(paths[::-1], 24, tmp_path / "cache").file)
    os.utime(paths[0], (1, 1))
    files.add(open_image_cache(paths, 24, tmp_path / "cache").file)
    assert len(files) == 4


def test_an_unfinished_cache_is_built_anew(paths: list[Path], tmp_path: Path) -> None:
    cache = open_image_cache(paths, 24, tmp_path / "cache")
    expected = np.array(cache.images)
    cache.file.with_name("manifest.json").unlink()
    cache.file.write_bytes(b"half")
    np.testing.assert_array_equal(open_image_cache(paths, 24, tmp_path / "cache").images, expected)


def test_unreadable_images_are_collected(paths: list[Path], tmp_path: Path) -> None:
    paths[1].write_bytes(b"no image")
    paths[3].unlink()
    for _ in range(2):  # built, then opened
        cache = open_image_cache(paths, 24, tmp_path / "cache")
        assert set(cache.unreadable) == {paths[1], paths[3]}
        assert all(str(path) in reason for path, reason in cache.unreadable.items())


@given(st.integers(1, 90), st.integers(1, 90), st.integers(8, 40))
def test_squares_keep_the_aspect_and_are_centred(height: int, width: int, size: int) -> None:
    square = fit_into_square(np.full((height, width), 200, np.uint8), size)
    rows, columns = np.nonzero(square)
    scale = size / max(height, width)
    shape = (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert shape == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert max(shape) == size
    assert (rows.min(), columns.min()) == ((size - shape[0]) // 2, (size - shape[1]) // 2)
    assert square.max() == 200
