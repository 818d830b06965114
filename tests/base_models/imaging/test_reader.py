import struct
import tracemalloc
import warnings
import zlib
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from base_models.imaging.reader import (
    ImageError,
    decode,
    image_size,
    misnamed,
    quiet_decoders,
    read_file,
    read_grey,
)
from tests.base_models.imaging.handmade import png_chunk, tiff
from tests.base_models.trees import encoded, picture

GREY = picture(0, shape=(50, 40))


def test_8_bit_grey_is_read_as_it_is(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "grey.png"), GREY)
    assert image_size(tmp_path / "grey.png") == (40, 50)


MODES = {
    "PNG": ("L", "RGB", "RGBA", "LA", "P", "1"),
    "TIFF": ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK"),
    "BMP": ("L", "RGB", "P", "1"),
    "WEBP": ("L", "RGB", "RGBA"),
}


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
def test_every_mode_gives_the_same_greys(tmp_path: Path, kind: str, mode: str) -> None:
    pixels = np.where(GREY > 60, 255, 0).astype(np.uint8) if mode == "1" else GREY
    path = tmp_path / "image"
    path.write_bytes(encoded(Image.fromarray(pixels).convert(mode), kind, lossless=True))
    np.testing.assert_allclose(read_grey(path).astype(int), pixels, atol=mode == "CMYK")
    assert image_size(path) == (40, 50)


def test_colour_is_turned_into_luminance(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "image.png")
    expected = colours @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    np.testing.assert_allclose(read_grey(tmp_path / "image.png"), expected, atol=1)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray((GREY % 4).astype(np.uint8), mode=None).convert("P")
    image.putpalette([value for grey in (10, 200, 90, 40) for value in (grey, grey, grey)])
    image.save(tmp_path / "image.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "image.png"), np.array([10, 200, 90, 40])[GREY % 4])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(("depth", "highest"), [(16, 65535), (12, 4095), (8, 255)])
def test_deep_greys_are_scaled_by_their_depth(tmp_path: Path, suffix: str, depth: int, highest: int) -> None:
    deep = np.linspace(0, highest, 600).reshape(30, 20).astype(np.uint16)
    path = tmp_path / f"deep.{suffix}"
    Image.fromarray(deep).save(path)
    expected = np.round(deep.astype(float) * 255 / (2**depth - 1))
    np.testing.assert_array_equal(read_grey(path), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("depth", "highest"), [(16, 65535), (12, 4095)])
def test_deep_colours_are_scaled_by_their_depth(
    tmp_path: Path, suffix: str, channels: int, depth: int, highest: int
) -> None:
    colours = np.random.default_rng(0).integers(0, highest + 1, (30, 20, channels)).astype(np.uint16)
    colours[0, 0, :3] = 0, 0, highest  # as dark as deep colours get
    path = tmp_path / f"deep.{suffix}"
    path.write_bytes(cv2.imencode(f".{suffix}", colours[..., [2, 1, 0, 3][:channels]])[1].tobytes())
    expected = colours[..., :3] @ np.array([0.299, 0.587, 0.114]) * 255 / (2**depth - 1)
    np.testing.assert_allclose(read_grey(path), expected, atol=0.501)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"deep\.{suffix}: "):
        read_grey(path)


def test_a_deep_grey_with_transparency_is_scaled_too(tmp_path: Path) -> None:
    deep = np.linspace(0, 4095, 600).reshape(30, 20).astype(np.uint16)
    rows = b"".join(b"\0" + np.stack([row, row[::-1]], axis=1).astype(">u2").tobytes() for row in deep)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 30, 16, 4, 0, 0, 0))
    content = header + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    np.testing.assert_allclose(read_grey(tmp_path / "deep.png"), deep / 4095 * 255, atol=0.501)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.array([[-5, 3]], dtype=np.int32), "grey values from -5 to 3, outside 0 to 65535"),
        (np.array([[70000, 3]], dtype=np.int32), "grey values from 3 to 70000"),
        (np.array([[np.nan, 0.5]], dtype=np.float32), "grey values from nan"),
    ],
)
def test_greys_that_are_none_are_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    Image.fromarray(pixels).save(tmp_path / "deep.tif")
    with pytest.raises(ImageError, match=rf"deep\.tif: {message}"):
        read_grey(tmp_path / "deep.tif")


@pytest.mark.parametrize("highest", [255, 4095, 65535])
def test_deep_tiff_files_whose_zero_is_white_are_no_negatives(tmp_path: Path, highest: int) -> None:
    deep = np.linspace(highest, 0, 600).reshape(30, 20).astype(np.uint16)
    expected = np.rint(255 - deep * (255.0 / highest))
    for zero, content in ((0, expected), (1, 255 - expected)):
        (tmp_path / "a.tif").write_bytes(tiff(deep, {262: zero}))
        np.testing.assert_allclose(read_grey(tmp_path / "a.tif"), content, atol=1)
        (tmp_path / "b.tif").write_bytes(tiff((deep / highest).astype(np.float32), {262: zero}))
        np.testing.assert_allclose(read_grey(tmp_path / "b.tif"), content, atol=1)
        (tmp_path / "c.tif").write_bytes(tiff((deep // (highest // 255)).astype(np.uint8), {262: zero}))
        np.testing.assert_allclose(read_grey(tmp_path / "c.tif").astype(int), content, atol=1)


def test_floats_are_shares_or_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    shares = np.linspace(0, 1, 600, dtype=np.float32).reshape(30, 20)
    for pixels, expected in (
        (shares, np.rint(shares.astype(float) * 255)),
        (shares / 2, np.rint(shares.astype(float) / 2 * 255)),
        (np.rint(shares * 4095), np.rint(np.rint(shares * 4095.0) / 4095 * 255)),
        (np.rint(shares), np.rint(shares) * 255),
    ):
        Image.fromarray(pixels).save(path)
        np.testing.assert_array_equal(read_grey(path), expected)
    for pixels, ends in ((shares * 1.5, "0 to 1.5"), (shares * 4000 + 0.25, "0.25 to 4000.25")):
        Image.fromarray(pixels).save(path)
        with pytest.raises(
            ImageError, match=rf"deep\.tif: expected greys as whole numbers or from 0 to 1, .* {ends}"
        ):
            read_grey(path)
    rows = shares[::-1].astype("<f4").tobytes()  # from the bottom row up
    (tmp_path / "deep.pfm").write_bytes(b"Pf\n20 30\n-1.0\n" + rows)
    np.testing.assert_array_equal(read_grey(tmp_path / "deep.pfm"), np.rint(shares.astype(float) * 255))


@pytest.mark.parametrize("kind", ["grey", "colours", "float"])
def test_deep_images_take_little_memory(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (1500, 1000)).astype(np.uint16)
    path = tmp_path / f"deep.{'tif' if kind == 'float' else 'png'}"
    if kind == "colours":
        cv2.imwrite(str(path), np.dstack([pixels] * 3))
    else:
        Image.fromarray(pixels.astype(np.float32) if kind == "float" else pixels).save(path)
    data = read_file(path)
    tracemalloc.start()
    decode(path, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * pixels.size  # the pixels as decoded, twice, as greys, and some rows as float64


def test_what_decoders_warn_of_is_not_given(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0"
    Image.fromarray(GREY).save(path, exif=damaged)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        Image.open(path).close()
    assert read_grey(path).shape == GREY.shape  # any warning is an error in these tests
    assert image_size(path) == (40, 50)


def test_jpeg_may_be_decoded_smaller(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(picture(1, shape=(400, 320))).convert("RGB").save(path)
    assert read_grey(path).shape == (400, 320)
    reduced = decode(path, read_file(path), at_least=64)
    assert 64 <= min(reduced.grey.shape) < 320
    assert (reduced.width, reduced.height, reduced.mode, reduced.format) == (320, 400, "RGB", "JPEG")


@pytest.mark.parametrize(
    ("name", "kind", "good"),
    [
        ("a.png", "PNG", True),
        ("a.PNG", "PNG", True),
        ("a.jpeg", "JPEG", True),
        ("a.webp", "WEBP", True),
        ("a.jp2", "JPEG2000", True),
        ("a.gif", "GIF", True),
        ("a.pgm", "PPM", True),
        ("a.jpg", "MPO", True),
        ("a.png", "WEBP", False),
        ("a.jpg", "WEBP", False),
        ("a.jpg", "JPEG2000", False),
        ("a.png", "GIF", False),
        ("a.png", "PPM", False),
        ("a.png", "ICO", False),
        ("a.dcm", "GIF", False),
        ("a.dcm", "WEBP", False),
        ("a.dcm", "JPEG2000", False),
        ("a.png", "JPEG", False),
        ("a.jpg", "PNG", False),
        ("a.dcm", "PNG", False),
        ("a", "TIFF", False),
        ("image.001", "TIFF", False),
    ],
)
def test_content_decides_what_a_misnamed_file_is(tmp_path: Path, name: str, kind: str, good: bool) -> None:
    path = tmp_path / name
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 95},
        "MPO": {"quality": 95, "save_all": True, "append_images": [Image.fromarray(GREY[:9, :9])]},
        "ICO": {"sizes": [(40, 50)]},
    }
    path.write_bytes(encoded(GREY, kind, **options.get(kind, {"lossless": True})))
    found = decode(path, read_file(path))
    assert found.format == kind
    np.testing.assert_allclose(found.grey, GREY, atol=12)
    assert image_size(path) == (40, 50)
    expected = None if good else f"its content is {kind}, not what its name says; rename it"
    assert misnamed(path, found) == expected


@pytest.mark.parametrize("last", [0, 90, 128, 255])
def test_a_whole_file_is_read_whatever_its_last_pixel(last: int) -> None:
    pixels = picture(3, shape=(130, 90))
    pixels[-30:] = last
    np.testing.assert_array_equal(decode(Path("film"), encoded(pixels, "PNG")).grey, pixels)
    for at_least in (None, 32):
        for behind in (b"", b"\xff\xd9 and more"):
            read = decode(Path("film"), encoded(pixels, "JPEG", progressive=True) + behind, at_least).grey
            assert abs(int(read[-1, -1]) - last) <= 2


def _warn(module: str) -> None:
    warnings.warn_explicit("of some file", UserWarning, "file.py", 1, module=module)


def test_decoders_are_quiet_as_long_as_one_thread_decodes() -> None:
    before = list(warnings.filters)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(quiet_decoders)
        second.enter_context(quiet_decoders)
        first.close()  # the thread that entered first leaves first
        _warn("PIL.TiffImagePlugin")
        _warn("pydicom.valuerep")
        with pytest.raises(UserWarning, match="of some file"):
            _warn("PILLAR")
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="of some file"):
        _warn("pydicom.valuerep")
