from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from base_models.data.image_cache import Part, build_part, fit_into_square, is_whole
from base_models.imaging.reader import read_grey
from tests.base_models.trees import picture, save_picture


def test_a_part_is_written_at_its_place_and_nowhere_else(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "none.png"]
    for number, path in enumerate(paths[:2]):
        save_picture(path, picture(number))
    file = tmp_path / "array"
    file.write_bytes(b"\xff" * (7 + 3 * 64 + 5))
    part = Part(file, 7, tuple(paths), 8)
    state = build_part(part)
    content = file.read_bytes()
    assert content[:7] == b"\xff" * 7
    assert content[-5:] == b"\xff" * 5
    pixels = np.frombuffer(content[7:-5], np.uint8).reshape(3, 8, 8)
    for row, path in enumerate(paths[:2]):
        np.testing.assert_array_equal(pixels[row], fit_into_square(read_grey(path), 8))
    assert not pixels[2].any()
    assert list(state.unreadable) == [str(paths[2])]
    assert is_whole(part, state)
    file.write_bytes(content[:-6])
    assert not is_whole(part, state)


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
