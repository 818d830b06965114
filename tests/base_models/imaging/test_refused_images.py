"""What is no image, damaged or too large is refused by name, with a reason."""

import io
import os
import struct
import zlib
from itertools import product
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from base_models.data.image_cache import open_image_cache
from base_models.imaging import reader
from base_models.imaging.decoding import SquareFormat
from base_models.imaging.reader import (
    ImageError,
    image_size,
    open_image,
    read_grey,
)
from tests.base_models.imaging.handmade import png_chunk, tiff
from tests.base_models.trees import encoded, picture

GREY = picture(0, shape=(50, 40))


def _huge_png(width: int, height: int) -> bytes:
    """A PNG file of a few hundred bytes whose header promises more pixels than any detector has."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    content = png_chunk(b"IDAT", zlib.compress(bytes(100_000)))
    return b"\x89PNG\r\n\x1a\n" + header + content + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("n_directories", [2, 40_000])
def test_many_directories_are_refused_without_counting_them(tmp_path: Path, n_directories: int) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(GREY, n_directories=n_directories))
    with pytest.raises(ImageError, match=r"a\.tif: expected one image, got several frames"):
        read_grey(path)
    assert image_size(path) == (40, 50)


def _frames(kind: str) -> bytes:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    return encoded(first, kind, save_all=True, append_images=[second])


PNG = encoded(GREY, "PNG")
JPEG = encoded(GREY, "JPEG")
BAD = {
    "empty.png": (b"", "empty"),
    "text.png": (b"no image at all", "no image of a known kind"),
    "page.jpg": (b"<!doctype html><title>404</title>", "no image of a known kind"),
    "zeros.png": (bytes(5000), "no image of a known kind"),
    "half.png": (PNG[: len(PNG) // 2], "Truncated File Read"),
    "without its end.png": (PNG[:-12], "truncated PNG file"),
    "only its head.png": (PNG[:8], "no image of a known kind, or its header is damaged"),
    "flipped bit.png": (PNG[:300] + bytes([PNG[300] ^ 1]) + PNG[301:], "broken PNG file"),
    "flipped size.png": (PNG[:18] + bytes([PNG[18] ^ 1]) + PNG[19:], "its header is damaged"),
    "half.jpg": (JPEG[:-60], "image file is truncated"),
    "half.tif": (encoded(GREY, "TIFF")[:900], r"\S"),
    "half.bmp": (encoded(GREY, "BMP")[:1500], "image file is truncated"),
    "bomb.png": (_huge_png(9000, 9000), "9000×9000 pixels, more than 64,000,000"),
    "large bomb.png": (_huge_png(10_000, 10_000), "10000×10000 pixels, more than 64,000,000"),
    "huge bomb.png": (_huge_png(60_000, 60_000), "pixels"),
    "frames.tif": (_frames("TIFF"), "expected one image, got several frames"),
    "frames.gif": (_frames("GIF"), "expected one image, got several frames"),
    "frames.png": (_frames("PNG"), "expected one image, got several frames"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_a_reason(tmp_path: Path, name: str) -> None:
    content, reason = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"{name.replace('.', '[.]')}: .*{reason}") as caught:
        read_grey(path)
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)


def test_no_bad_file_is_dropped_from_a_cache(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in BAD]
    for path, (content, _) in zip(paths, BAD.values(), strict=True):
        path.write_bytes(content)
    good = tmp_path / "good.png"
    good.write_bytes(PNG)
    cache = open_image_cache([*paths, good], SquareFormat(16), tmp_path / "cache")
    assert set(cache.unreadable) == set(paths)
    assert all(reason.startswith(f"{path}: ") for path, reason in cache.unreadable.items())


def test_every_flipped_bit_of_a_png_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    for at in range(8, len(PNG), 7):
        path.write_bytes(PNG[:at] + bytes([PNG[at] ^ 16]) + PNG[at + 1 :])
        with pytest.raises(ImageError, match=r"image\.png: "):
            read_grey(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for read in (read_grey, image_size):
        with pytest.raises(ImageError, match=r"none\.png: No such file"):
            read(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere.png")
    for read, name in product((read_grey, image_size), ("folder.png", "pipe.png")):
        with pytest.raises(ImageError, match=rf"{name}: expected a file, got the (folder|pipe)"):
            read(tmp_path / name)
    with pytest.raises(ImageError, match=r"broken\.png: No such file"):
        read_grey(tmp_path / "broken.png")
    for read in (read_grey, image_size):
        with pytest.raises(ImageError, match=r"x\.png: File name too long"):
            read(tmp_path / f"{'x' * 300}.png")
        with pytest.raises(ImageError, match=r"b\.png: .*(NUL|null)"):
            read(tmp_path / "a\0b.png")


def test_too_long_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "long.png").write_bytes(PNG)
    monkeypatch.setattr(reader, "MAX_BYTES", 100)
    with pytest.raises(ImageError, match=r"long\.png: [\d,]+ bytes, more than 100"):
        read_grey(tmp_path / "long.png")


def _small_png(side: int) -> io.BytesIO:
    return io.BytesIO(encoded(Image.new("1", (side, side)), "PNG"))


def test_pillows_warning_of_large_images_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.warns(Image.DecompressionBombWarning, match="256 pixels"):
        Image.open(_small_png(16))
    assert open_image(_small_png(16)).size == (16, 16)  # any warning is an error in these tests
    with pytest.raises(Image.DecompressionBombError):
        open_image(_small_png(21))


def test_no_format_is_opened_that_another_program_would_read() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "EPS")  # Pillow hands it to Ghostscript
    assert Image.open(buffer).format == "EPS"
    with pytest.raises(UnidentifiedImageError):
        open_image(buffer)
