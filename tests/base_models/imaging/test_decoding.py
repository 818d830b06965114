import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from base_models.imaging.decoding import each_image, fit_into_square, stretch_into_square
from base_models.imaging.reader import ImageError, read_grey
from tests.base_models.trees import picture, save_picture

NAMES = [Path(str(number)) for number in range(130)]


def test_images_come_in_order_and_unreadable_files_as_errors(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(20)]
    for number, path in enumerate(paths):
        save_picture(path, picture(number))
    paths[7].write_bytes(b"no image")
    for number, found in enumerate(each_image(paths, read_grey)):
        if number == 7:
            assert isinstance(found, ImageError)
        else:
            np.testing.assert_array_equal(found, picture(number))


def test_progress_is_told_at_the_start_every_64_files_and_at_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    assert list(each_image(NAMES, str, lambda *what: told.append(what))) == list(map(str, NAMES))
    assert told == [("reading radiographs", number, 130) for number in (0, 64, 128, 130)]
    told.clear()
    list(each_image(NAMES[:3], str, lambda *what: told.append(what), done=127))
    assert told == [("reading radiographs", number, 130) for number in (127, 128, 130)]


def test_an_interruption_does_not_wait_for_all_images() -> None:
    read: list[Path] = []

    def interrupted(path: Path) -> None:
        read.append(path)
        if len(read) > 1:
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(each_image(NAMES * 30, interrupted))
    assert len(read) < len(NAMES) * 30


def test_no_more_images_are_decoded_at_once_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    threads: set[int] = set()

    def slow(path: Path) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.01)  # so that a second thread would take some

    list(each_image(NAMES[:8], slow))
    assert len(threads) == 1


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


def test_stretching_forgets_the_aspect() -> None:
    image = np.zeros((30, 60), dtype=np.uint8)
    image[:, 30:] = 200
    stretched = stretch_into_square(image, 20)
    assert stretched.shape == (20, 20)
    assert (stretched[:, :9] == 0).all()
    assert (stretched[:, 11:] == 200).all()
    large = np.asarray(Image.fromarray(picture(3)).resize((60, 80)))
    blocks = large.reshape(20, 4, 20, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(stretch_into_square(large, 20), blocks, atol=0.51)
