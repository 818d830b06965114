import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image

from base_models.audit import pictures
from base_models.audit.pictures import Picture, look_at
from tests.base_models.trees import picture, save_picture


def test_each_file_is_described_or_has_a_reason(tmp_path: Path) -> None:
    names = ("a.png", "b.png", "c.jpg", "d.png")
    a, b, c, d = (tmp_path / name for name in names)
    save_picture(a, picture(0, shape=(50, 40)))
    save_picture(b, np.full((8, 9), 7, np.uint8))
    Image.fromarray(picture(0, shape=(50, 40))).convert("RGB").save(c, "PNG")
    d.write_bytes(b"no picture")
    calls: list[tuple[str, int, int]] = []
    found = look_at([a, b, c, d], lambda *call: calls.append(call))
    assert list(found) == [a, b, c, d]
    assert calls == [("reading radiographs", 4, 4)]
    assert found[d] == "no picture of a known kind"
    grey, flat, colour = (found[path] for path in (a, b, c))
    assert isinstance(grey, Picture)
    assert isinstance(flat, Picture)
    assert isinstance(colour, Picture)
    assert (grey.width, grey.height, grey.mode, grey.constant, grey.misnamed) == (40, 50, "L", False, None)
    assert flat.constant
    assert (colour.mode, colour.misnamed) == ("RGB", "its content is PNG, not what its name says; rename it")
    assert grey.digest != colour.digest
    np.testing.assert_array_equal(grey.hash, colour.hash)
    assert float(grey.thumbnail @ colour.thumbnail) == pytest.approx(1, abs=1e-5)


def test_no_more_files_are_decoded_at_once_than_there_are_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)
    threads: set[int] = set()

    def slow(path: Path) -> str:
        threads.add(threading.get_ident())
        time.sleep(0.01)  # so that a second thread would take some
        return "unread"

    monkeypatch.setattr(pictures, "_look", slow)
    assert len(look_at([tmp_path / str(number) for number in range(8)])) == 8
    assert len(threads) == 1
