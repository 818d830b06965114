"""Image files written by hand, with what Pillow does not write."""

import struct
import zlib

import numpy as np

SHORT, LONG = 3, 4


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file, with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def tiff(pixels: np.ndarray, tags: dict[int, int] | None = None, n_directories: int = 1) -> bytes:
    """Return an uncompressed TIFF file of little-endian pixels, shape (height, width) or (height, width, 3).

    Args:
        pixels: The pixels.
        tags: Other values of tags that are short numbers, such as 262 (what zero means) or 274 (which side is
            up).
        n_directories: Directories, all of them of the same pixels.
    """
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    bits, place = 8 * pixels.dtype.itemsize, 8 + 2 * channels
    kind = {"u": 1, "f": 3}[pixels.dtype.kind]
    content = {256: width, 257: height, 258: bits, 259: 1, 262: 2 if channels == 3 else 1, 273: place}
    content |= {277: channels, 278: height, 279: pixels.nbytes, 339: kind} | (tags or {})
    entries = b""
    for tag, value in sorted(content.items()):
        if tag == 258 and channels > 1:
            entries += struct.pack("<HHII", tag, SHORT, channels, 8)
        elif tag in {256, 257, 273, 278, 279}:
            entries += struct.pack("<HHII", tag, LONG, 1, value)
        else:
            entries += struct.pack("<HHIHH", tag, SHORT, 1, value, 0)
    head = struct.pack(f"<{channels}H", *[bits] * channels)
    data = head + pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    first, length = 8 + len(data), 2 + len(entries) + 4
    directories = b"".join(
        struct.pack("<H", len(content))
        + entries
        + struct.pack("<I", first + (number + 1) * length if number + 1 < n_directories else 0)
        for number in range(n_directories)
    )
    return struct.pack("<2sHI", b"II", 42, first) + data + directories
