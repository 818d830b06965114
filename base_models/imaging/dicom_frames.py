"""Compressed frames of DICOM files: their size, and which decoder takes them."""

import re
import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from mura_env.errors import UserError

EXPLICIT = "1.2.840.10008.1.2.1"
"""Transfer syntax of pixels as they are, little endian."""
_EXTENDED = "1.2.840.10008.1.2.4.51"
_GDCM = (_EXTENDED, "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
"""Transfer syntaxes that no other decoder of the extra takes: JPEG with 12 bits, and JPEG Lossless."""
_GDCM_PROGRAM = Path(__file__).with_name("gdcm_frame.py")
_GDCM_SECONDS = 120
"""Time for a frame; the largest takes a few seconds."""
_DAMAGE = re.compile(r"(Corrupt JPEG data|Premature end).*")
"""What GDCM's libraries say of frames that they decode in part, and fill up."""

_JPEG_2000_SIZE = re.compile(rb"\xff\x4f\xff\x51.{4}(.{16})", re.DOTALL)
"""Begin of a code stream (ISO/IEC 15444-1, A.5.1), with the right, bottom, left and top of its image."""
_JPEG_FRAMES, _JPEG_LS = range(0xFFC0, 0xFFD0), 0xFFF7
"""Markers before the size of an image (ISO/IEC 10918-1, B.1.1.3; 14495-1, C.1.1)."""
_JPEG_NO_FRAMES = (0xFFC4, 0xFFC8, 0xFFCC)
"""Markers among them that begin something else: tables and an extension."""


def choose_decoder(dataset: Any, frame: bytes) -> str:
    """Return pydicom's name of the decoder for a frame; what GDCM alone reads becomes plain pixels.

    Raises:
        UserError: If the frame has another size than the data set says, which may be huge; or no decoder for
            it is installed; or GDCM cannot decode it.
    """
    syntax, columns, rows = dataset.file_meta.TransferSyntaxUID, int(dataset.Columns), int(dataset.Rows)
    coded_columns, coded_rows, bits = _coded(frame) or (columns, rows, 8)
    if (coded_columns, coded_rows) != (columns, rows):
        raise UserError(
            f"expected a compressed frame of {columns}×{rows} pixels, got one of {coded_columns}×{coded_rows}"
        )
    available = import_module("pydicom.pixels").get_decoder(syntax).available_plugins
    short = {"gdcm", "pillow"} if syntax == _EXTENDED and bits > 8 else {"gdcm"}
    if plugins := [name for name in available if name not in short]:
        return str(plugins[-1])  # pylibjpeg reads more than Pillow, which comes before it
    if syntax not in _GDCM or "gdcm" not in available:
        raise UserError(
            f"expected a coding of pixels that a decoder is installed for, got {syntax.name}; decompress the "
            "file (with DCMTK's dcmdjpeg, say), or install one: pip install 'mura-rl-ensemble[dicom]'"
        )
    if bits > dataset.BitsAllocated:
        dataset.BitsAllocated = 16
    dataset.PixelData = _decompressed(dataset, frame)
    dataset.file_meta.TransferSyntaxUID = import_module("pydicom.uid").UID(EXPLICIT)
    return ""  # there is nothing to decode any more


def _decompressed(dataset: Any, frame: bytes) -> bytes:
    """Decode a frame with GDCM, in a process of its own; return its pixels, as a data set stores them.

    All bits of a pixel are asked for: which of them hold its value is decided for all decoders alike.
    """
    numbers = (
        *(dataset.Columns, dataset.Rows, dataset.SamplesPerPixel, dataset.get("PlanarConfiguration") or 0),
        *(dataset.BitsAllocated, dataset.PixelRepresentation),
    )
    says = [str(dataset.file_meta.TransferSyntaxUID), str(dataset.PhotometricInterpretation)]
    command = [sys.executable, "-P", str(_GDCM_PROGRAM), *says, *(str(int(number)) for number in numbers)]
    try:
        run = subprocess.run(command, input=frame, capture_output=True, timeout=_GDCM_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise UserError(f"its compressed frame is not decoded within {_GDCM_SECONDS} seconds") from error
    damage = _DAMAGE.search(run.stderr.decode(errors="replace"))
    if run.returncode or damage:
        raise UserError(f"damaged in its compressed frame ({damage[0] if damage else 'it is not decoded'})")
    return run.stdout


def _coded(frame: bytes) -> tuple[int, int, int] | None:
    """Return width, height and bits in the header of a JPEG, JPEG-LS or JPEG 2000 frame; None without one."""
    if found := _JPEG_2000_SIZE.search(frame):
        right, bottom, left, top = struct.unpack(">4I", found[1])
        return right - left, bottom - top, 0
    at = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while at + 9 <= len(frame):
        marker, length, bits, height, width = struct.unpack_from(">HHBHH", frame, at)
        if marker == _JPEG_LS or (marker in _JPEG_FRAMES and marker not in _JPEG_NO_FRAMES):
            return width, height, bits
        at += 2 + length
    return None
