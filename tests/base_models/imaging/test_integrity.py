import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.imaging.reader import ImageError, decode
from tests.base_models.trees import picture

PATH = Path("film")
ADAM7 = ["16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"]
"""The pass of each pixel of an 8×8 tile, row by row (ISO/IEC 15948, figure 8.2)."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(rows: bytes, shape: tuple[int, int], colour: int = 0, depth: int = 8, interlaced: int = 0) -> bytes:
    """A PNG file whose checksums are right, with these bytes before compression."""
    header = struct.pack(">IIBBBBB", shape[1], shape[0], depth, colour, 0, 0, interlaced)
    palette = _chunk(b"PLTE", bytes(3 * list(range(256))[: 3 << depth])) if colour == 3 else b""
    compressed = zlib.compress(rows)
    parts = _chunk(b"IDAT", compressed[:20]) + _chunk(b"IDAT", compressed[20:])
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + parts + _chunk(b"IEND", b"")


def _interlaced_rows(pixels: np.ndarray) -> list[bytes]:
    """The rows of the seven passes, pixel by pixel, each behind the number of its filter."""
    rows = []
    for number in "1234567":
        for row in range(pixels.shape[0]):
            values = [
                int(pixels[row, column])
                for column in range(pixels.shape[1])
                if ADAM7[row % 8][column % 8] == number
            ]
            rows += [bytes([0, *values])] if values else []
    return rows


KINDS = [
    *((0, depth, 1) for depth in (1, 2, 4, 8, 16)),
    *((3, depth, 1) for depth in (1, 2, 4, 8)),
    *((colour, depth, samples) for colour, samples in ((2, 3), (4, 2), (6, 4)) for depth in (8, 16)),
]


@pytest.mark.parametrize(("colour", "depth", "samples"), KINDS)
def test_a_png_file_with_fewer_rows_than_it_says_is_refused(colour: int, depth: int, samples: int) -> None:
    row_bytes = 1 + -(-9 * samples * depth // 8)
    rng = np.random.default_rng(colour)
    rows = [b"\0" + rng.integers(0, 256, row_bytes - 1).astype(np.uint8).tobytes() for _ in range(7)]
    assert decode(PATH, _png(b"".join(rows), (7, 9), colour, depth)).grey.shape == (7, 9)
    for kept in range(7):
        with pytest.raises(ImageError, match=r"film: .*truncated"):
            decode(PATH, _png(b"".join(rows[:kept]), (7, 9), colour, depth))


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 5), (8, 8), (9, 17), (13, 6)])
def test_every_row_of_an_interlaced_png_file_must_be_there(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    rows = _interlaced_rows(pixels)
    whole = decode(PATH, _png(b"".join(rows), shape, interlaced=1)).grey
    np.testing.assert_array_equal(whole, pixels)
    for kept in range(len(rows)):
        with pytest.raises(ImageError, match=r"film: .*truncated"):
            decode(PATH, _png(b"".join(rows[:kept]), shape, interlaced=1))


@pytest.mark.parametrize("last", range(256))
def test_a_whole_png_file_is_read_whatever_its_last_pixel(last: int) -> None:
    pixels = np.full((3, 5), last, np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    np.testing.assert_array_equal(decode(PATH, _png(rows, (3, 5))).grey, pixels)


OPTIONS = [{}, {"optimize": True}, {"restart_marker_blocks": 5}, {"quality": 30}, {"subsampling": 2}]


def _jpeg(pixels: np.ndarray, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("at_least", [None, 32])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_jpeg_file_closed_early_is_refused(
    mode: str, options: dict[str, object], at_least: int | None
) -> None:
    content = _jpeg(picture(3, shape=(130, 90)), mode, **options)
    scan = content.index(b"\xff\xda") + 14
    for share in (0.1, 0.5, 0.9):
        cut = content[: scan + int(share * (len(content) - scan))] + b"\xff\xd9"
        with pytest.raises(ImageError, match="film: truncated JPEG file, though it has an end marker"):
            decode(PATH, cut, at_least)


@pytest.mark.parametrize("at_least", [None, 32])
@pytest.mark.parametrize("options", [*OPTIONS, {"progressive": True}])
def test_a_whole_jpeg_file_is_read_whatever_its_last_pixels(
    options: dict[str, object], at_least: int | None
) -> None:
    pixels = picture(3, shape=(130, 90))
    pixels[-30:] = 128
    for mode in ("L", "RGB"):
        for behind in (b"", b"\xff\xd9 and more"):
            read = decode(PATH, _jpeg(pixels, mode, **options) + behind, at_least).grey
            assert read[-1, -1] == 128
            expected = np.asarray(Image.fromarray(pixels).resize(read.shape[::-1], Image.Resampling.BOX))
            assert np.abs(read.astype(int) - expected).mean() < 4
