from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models import images
from base_models.images import ImageError, image_size, read_grey
from tests.base_models.trees import picture

GREY = picture(0, shape=(50, 40))


def test_8_bit_grey_is_read_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "grey.png"), GREY)
    assert image_size(tmp_path / "grey.png") == (40, 50)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_other_modes_give_the_same_greys(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY).convert(mode).save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "image.png"), GREY)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray((GREY % 4).astype(np.uint8), mode=None).convert("P")
    image.putpalette([value for grey in (10, 200, 90, 40) for value in (grey, grey, grey)])
    image.save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "image.png"), np.array([10, 200, 90, 40])[GREY % 4])


@pytest.mark.parametrize(("depth", "highest"), [(16, 65535), (12, 4095), (8, 255)])
def test_deep_greys_are_scaled_by_their_depth(tmp_path: Path, depth: int, highest: int) -> None:
    deep = np.linspace(0, highest, 600).reshape(30, 20).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    expected = np.round(deep.astype(float) * 255 / (2**depth - 1))
    np.testing.assert_array_equal(read_grey(tmp_path / "deep.png"), expected)


def test_negative_greys_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-5, 3]], dtype=np.int32)).save(tmp_path / "deep.tif")
    with pytest.raises(ImageError, match=r"deep\.tif: grey values from -5 to 3"):
        read_grey(tmp_path / "deep.tif")


def test_jpeg_may_be_decoded_smaller(tmp_path: Path) -> None:
    Image.fromarray(picture(1, shape=(400, 320))).save(tmp_path / "image.jpg")
    assert read_grey(tmp_path / "image.jpg").shape == (400, 320)
    reduced = read_grey(tmp_path / "image.jpg", at_least=64)
    assert 64 <= min(reduced.shape) < 320


@pytest.mark.parametrize("content", [b"", b"no image", "truncated"])
def test_unreadable_files_are_named_with_a_reason(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "bad.png"
    Image.fromarray(GREY).save(path)
    path.write_bytes(path.read_bytes()[:200] if isinstance(content, str) else content)
    with pytest.raises(ImageError, match=r"bad\.png: \S+"):
        read_grey(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (read_grey, image_size):
        with pytest.raises(ImageError, match=r"none\.png: .*No such file"):
            read(tmp_path / "none.png")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(GREY).save(tmp_path / "big.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 1999)
    with pytest.raises(ImageError, match=r"big\.png: 40×50 pixels, more than 1,999"):
        read_grey(tmp_path / "big.png")
