import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from base_models.imaging.orientation import upright
from base_models.imaging.reader import decode, image_size, read_grey
from tests.base_models.imaging.handmade import png_chunk, tiff
from tests.base_models.trees import encoded, picture

GREY = picture(5, shape=(48, 32))
GREY[20, 9] = 255  # the depth of deep greys is that of the brightest
TURNS = range(1, 9)
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'


def _exif(turn: int) -> bytes:
    exif = Image.Exif()
    exif[274] = turn
    return exif.tobytes()


def _png(pixels: np.ndarray, chunk: bytes, *, behind: bool) -> bytes:
    plain = encoded(pixels, "PNG")
    at = len(plain) - 12 if behind else 33  # before the end, or behind the header
    return plain[:at] + chunk + plain[at:]


DEEP = GREY.astype(np.uint16) * 257
COLOURS = np.dstack([DEEP, DEEP // 2, DEEP // 3])
ENCODERS = {
    "a.jpg": lambda turn: encoded(GREY, "JPEG", quality=100, exif=_exif(turn)),
    "progressive.jpg": lambda turn: encoded(GREY, "JPEG", quality=100, progressive=True, exif=_exif(turn)),
    "xmp.jpg": lambda turn: encoded(GREY, "JPEG", quality=100, xmp=XMP % turn),
    "a.png": lambda turn: encoded(GREY, "PNG", exif=_exif(turn)),
    "late.png": lambda turn: _png(GREY, png_chunk(b"eXIf", _exif(turn)[6:]), behind=True),
    "xmp.png": lambda turn: _png(
        GREY, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % turn), behind=False
    ),
    "late xmp.png": lambda turn: _png(
        GREY, png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % turn), behind=True
    ),
    "deep.png": lambda turn: encoded(DEEP, "PNG", exif=_exif(turn)),
    "a.webp": lambda turn: encoded(GREY, "WEBP", lossless=True, exif=_exif(turn)),
    "a.tif": lambda turn: tiff(GREY, {274: turn}),
    "deep.tif": lambda turn: tiff(DEEP, {274: turn}),
    "white is zero.tif": lambda turn: tiff(65535 - DEEP, {274: turn, 262: 0}),
    "float.tif": lambda turn: tiff((GREY / 255).astype(np.float32), {274: turn}),
    "lzw.tif": lambda turn: encoded(GREY, "TIFF", compression="tiff_lzw", exif=_exif(turn)),
}


def _turned(pixels: np.ndarray, turn: int) -> np.ndarray:
    """What Pillow shows of it."""
    image = Image.fromarray(pixels)
    image.getexif()[274] = turn
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("name", ENCODERS)
def test_every_format_is_shown_as_its_file_says(tmp_path: Path, name: str, turn: int) -> None:
    path = tmp_path / name
    path.write_bytes(ENCODERS[name](turn))
    expected = _turned(GREY, turn)
    found = decode(path, path.read_bytes())
    np.testing.assert_allclose(found.grey.astype(int), expected, atol=3)
    assert (found.width, found.height) == image_size(path) == expected.shape[::-1]


@pytest.mark.parametrize("turn", TURNS)
def test_deep_colours_are_turned_too(tmp_path: Path, turn: int) -> None:
    png = cv2.imencode(".png", COLOURS[..., ::-1])[1].tobytes()
    chunk = png_chunk(b"eXIf", _exif(turn)[6:])
    expected = _turned(np.rint(COLOURS @ [0.299, 0.587, 0.114] / 65535 * 255).astype(np.uint8), turn)
    for name, content in (
        ("early.png", png[:33] + chunk + png[33:]),
        ("late.png", png[:-12] + chunk + png[-12:]),
        ("deep.tif", tiff(COLOURS, {274: turn})),
    ):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_allclose(read_grey(tmp_path / name).astype(int), expected, atol=1)
        assert image_size(tmp_path / name) == expected.shape[::-1]


@pytest.mark.parametrize("turn", TURNS)
def test_a_jpeg_decoded_at_a_fraction_is_turned_and_keeps_its_size(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(1, shape=(400, 320)), "JPEG", quality=95, exif=_exif(turn)))
    whole, part = decode(path, path.read_bytes()), decode(path, path.read_bytes(), at_least=64)
    assert (part.width, part.height) == (whole.width, whole.height) == whole.grey.shape[::-1]
    height, width = part.grey.shape
    assert width < whole.width
    reduced = cv2.resize(whole.grey, (width, height), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(reduced.ravel(), part.grey.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("turn", [0, 9, 77])
def test_what_is_no_orientation_says_nothing(tmp_path: Path, turn: int) -> None:
    for name in ("a.jpg", "a.png", "late.png", "a.webp"):
        (tmp_path / name).write_bytes(ENCODERS[name](turn))
        np.testing.assert_allclose(read_grey(tmp_path / name).astype(int), GREY, atol=3)
        assert image_size(tmp_path / name) == (32, 48)


@pytest.mark.parametrize("damage", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing at all"])
def test_damaged_exif_data_say_nothing(tmp_path: Path, damage: bytes) -> None:
    for name, content in (
        ("a.jpg", encoded(GREY, "JPEG", quality=100, exif=damage)),
        ("a.png", _png(GREY, png_chunk(b"eXIf", damage[6:]), behind=False)),
        ("late.png", _png(GREY, png_chunk(b"eXIf", damage[6:]), behind=True)),
        ("raw.png", _png(GREY, png_chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 8\nzz"), behind=False)),
    ):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_allclose(read_grey(tmp_path / name).astype(int), GREY, atol=3)
        assert image_size(tmp_path / name) == (32, 48)


@given(
    height=st.integers(1, 7), width=st.integers(1, 7), turn=st.sampled_from(TURNS), seed=st.integers(0, 99)
)
def test_pixels_go_where_a_plain_loop_puts_them(height: int, width: int, turn: int, seed: int) -> None:
    stored = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    shape = (width, height) if turn > 4 else (height, width)
    expected = np.zeros(shape, np.uint8)
    for row in range(height):
        for column in range(width):
            # what the stored row and the stored column count: from the top or bottom, the left or right
            down, right = (row, column) if turn < 5 else (column, row)
            if turn in {3, 4, 7, 8}:
                down = shape[0] - 1 - down
            if turn in {2, 3, 6, 7}:
                right = shape[1] - 1 - right
            expected[down, right] = stored[row, column]
    np.testing.assert_array_equal(upright(stored, turn), expected)


def test_real_annotations_lie_on_the_image_that_its_file_shows(tmp_path: Path, real_fracatlas: Path) -> None:
    """An image stored on its side has the size, and the pixels, that its annotations speak of."""
    document = json.loads(next((real_fracatlas / "Annotations").rglob("*.json")).read_text())
    described = next(row for row in document["images"] if row["width"] != row["height"])
    source = next((real_fracatlas / "images").glob(f"*/{described['file_name']}"))
    shown = read_grey(source)
    for turn in TURNS:
        stored = next(
            pixels
            for pixels in (np.rot90(side, times) for side in (shown, shown[::-1]) for times in range(4))
            if np.array_equal(upright(pixels, turn), shown)
        )
        path = tmp_path / f"{turn}.png"
        path.write_bytes(encoded(np.ascontiguousarray(stored), "PNG", exif=_exif(turn)))
        np.testing.assert_array_equal(read_grey(path), shown)
        assert image_size(path) == (described["width"], described["height"])
