"""Compressed DICOM: JPEG-LS, JPEG 2000, JPEG Lossless, run lengths, deflated; and without a decoder."""

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.imaging.reader import ImageError, image_size, read_grey
from tests.base_models.imaging.dicoms import DEEP, write_dicom
from tests.base_models.trees import encoded

pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")

GREY = (np.add.outer(np.arange(33) ** 2, 3 * np.arange(47)) * 3).astype(np.uint16)
LOSSLESS, EXTENDED, LS, NEAR_LS = (f"1.2.840.10008.1.2.4.{number}" for number in (70, 51, 80, 81))
J2K_LOSSLESS = "1.2.840.10008.1.2.4.90"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"


def _wrapped(path: Path, frames: list[bytes], syntax: str, pixels: np.ndarray, **elements: object) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, pixels, **elements))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", [LS, NEAR_LS, J2K_LOSSLESS])
def test_compressed_pixels_are_those_before(tmp_path: Path, syntax: str, bits: int) -> None:
    pytest.importorskip("jpeg_ls" if syntax in {LS, NEAR_LS} else "openjpeg", reason="not installed")
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = np.round(GREY / GREY.max() * (2**bits - 1)).astype(kind)
    path = write_dicom(tmp_path / "a.dcm", pixels, BitsStored=bits, HighBit=bits - 1)
    expected = read_grey(path)
    dataset = pydicom.dcmread(path)
    options = {"jls_error": 1} if syntax == NEAR_LS else {}
    dataset.compress(pydicom.uid.UID(syntax), **options)
    dataset.save_as(path)
    tolerance = 2 if syntax == NEAR_LS and bits == 8 else int(syntax == NEAR_LS)
    np.testing.assert_allclose(read_grey(path).astype(int), expected, atol=tolerance)


def _lossless_jpeg(pixels: np.ndarray, bits: int) -> bytes:
    """Code pixels as JPEG Lossless (ISO/IEC 10918-1, annex H): predictor 1, all categories of 5 bits.

    Category s of a difference d is its number of bits; then come s bits: d, or d - 1 + 2^s below zero.
    Differences are modulo 2^16, and 2^15 alone is of category 16, without bits.
    """
    height, width = pixels.shape
    coded = ""
    for row in range(height):
        for column in range(width):
            before = pixels[row, column - 1] if column else pixels[row - 1, 0] if row else 1 << (bits - 1)
            coded += _difference(int(pixels[row, column]) - int(before))
    return _jpeg(0xFFC3, bits, pixels.shape, _table(0, dict.fromkeys(range(17), 5)), coded, scan=(1, 0))


def _jpeg_of_12_bits(pixels: np.ndarray) -> bytes:
    """Code pixels that are the same in blocks of 8×8 as JPEG of 12 bits (annex F): only their means count.

    The mean's coefficient is 8 times its distance from 2^11, and is quantised by 8; that no other
    coefficients follow is one bit.
    """
    coded, before = "", 2048
    for mean in pixels[::8, ::8].ravel():
        coded += _difference(int(mean) - before) + "0"
        before = int(mean)
    steps = struct.pack(">HHB64B", 0xFFDB, 67, 0, *[8] * 64)
    tables = steps + _table(0, dict.fromkeys(range(17), 5)) + _table(0x10, {0: 1})
    return _jpeg(0xFFC1, 12, pixels.shape, tables, coded, scan=(0, 63))


def _difference(difference: int) -> str:
    difference = (difference + 32767) % 65536 - 32767
    size = abs(difference).bit_length()
    value = difference if difference >= 0 else difference - 1 + (1 << size)
    return f"{size:05b}" + (f"{value:0{size}b}" if 0 < size < 16 else "")


def _table(number: int, lengths: dict[int, int]) -> bytes:
    """A table of codes, by the length of each value's code."""
    counts = bytes([*lengths.values()].count(length) for length in range(1, 17))
    return struct.pack(">HHB", 0xFFC4, 19 + len(lengths), number) + counts + bytes(lengths)


def _jpeg(
    kind: int, bits: int, shape: tuple[int, ...], tables: bytes, coded: str, *, scan: tuple[int, int]
) -> bytes:
    coded += "1" * (-len(coded) % 8)
    data = int(coded, 2).to_bytes(len(coded) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = struct.pack(">HHBHHBBBB", kind, 11, bits, *shape, 1, 1, 0x11, 0)
    header = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, *scan, 0)
    return b"\xff\xd8" + frame + tables + header + data + b"\xff\xd9"


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_jpeg_lossless_is_read(tmp_path: Path, bits: int, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gdcm", reason="not installed")
    pixels = np.round(GREY / GREY.max() * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    elements = {"BitsStored": bits, "HighBit": bits - 1}
    expected = read_grey(write_dicom(tmp_path / "a.dcm", pixels, **elements))
    path = _wrapped(tmp_path / "b.dcm", [_lossless_jpeg(pixels, bits)], LOSSLESS, pixels, **elements)
    np.testing.assert_array_equal(read_grey(path), expected)
    assert capfd.readouterr().err == ""  # the decoder itself tries other depths first, and says so


def test_a_frame_of_more_bits_than_said_is_read_as_it_is_coded(tmp_path: Path) -> None:
    pytest.importorskip("gdcm", reason="not installed")
    pixels = np.add.outer(np.arange(33) * 60, np.arange(47) * 40).astype(np.uint16)
    expected = read_grey(write_dicom(tmp_path / "a.dcm", pixels))
    path = _wrapped(tmp_path / "b.dcm", [_lossless_jpeg(pixels, 12)], LOSSLESS, pixels.astype(np.uint8))
    np.testing.assert_array_equal(read_grey(path), expected)


def test_jpeg_of_12_bits_is_read(tmp_path: Path) -> None:
    pytest.importorskip("gdcm", reason="not installed")
    pixels = np.kron(np.arange(0, 4096, 100, dtype=np.uint16)[:40].reshape(5, 8), np.ones((8, 8), np.uint16))
    expected = read_grey(write_dicom(tmp_path / "a.dcm", pixels))
    path = _wrapped(tmp_path / "b.dcm", [_jpeg_of_12_bits(pixels)], EXTENDED, pixels)
    np.testing.assert_array_equal(read_grey(path), expected)


def test_colours_in_jpeg_lossless_are_read() -> None:
    pytest.importorskip("gdcm", reason="not installed")
    folder = Path(pydicom.data.__file__).parent / "test_files"
    expected = read_grey(folder / "SC_rgb_rle.dcm")
    np.testing.assert_array_equal(read_grey(folder / "SC_rgb_jpeg_gdcm.dcm"), expected)


@pytest.mark.parametrize("damage", ["foreign", "cut", "bits"])
def test_a_damaged_jpeg_lossless_frame_is_refused(tmp_path: Path, damage: str) -> None:
    pytest.importorskip("gdcm", reason="not installed")
    frame = _lossless_jpeg(GREY, 16)
    middle = len(frame) // 2
    frame = {
        "foreign": b"{}",  # at which the decoder aborts its process
        "cut": frame[:middle],  # which it fills up
        "bits": frame[:middle] + b"\xf7" * 40 + frame[middle + 40 :],
    }[damage]
    with pytest.raises(ImageError, match=r"a\.dcm: damaged in its compressed frame"):
        read_grey(_wrapped(tmp_path / "a.dcm", [frame], LOSSLESS, GREY, BitsStored=16, HighBit=15))


def test_a_coding_without_a_decoder_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _wrapped(tmp_path / "a.dcm", [_lossless_jpeg(GREY, 12)], LOSSLESS, GREY)
    monkeypatch.setattr(pydicom.pixels.get_decoder(LOSSLESS), "_available", {})
    with pytest.raises(ImageError, match=r"a\.dcm: expected a coding .* JPEG Lossless.*\[dicom\]"):
        read_grey(path)


def test_video_is_refused_by_name(tmp_path: Path) -> None:
    path = _wrapped(tmp_path / "a.dcm", [b"\0\0\1\xb3"], "1.2.840.10008.1.2.4.100", GREY)
    with pytest.raises(ImageError, match=r"a\.dcm: .*MPEG2"):
        read_grey(path)


@pytest.mark.parametrize("syntax", [LS, J2K_LOSSLESS])
def test_a_frame_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, syntax: str) -> None:
    pytest.importorskip("jpeg_ls" if syntax == LS else "openjpeg", reason="not installed")
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", GREY))
    dataset.compress(pydicom.uid.UID(syntax))
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    size = struct.pack(">HH", 33, 47) if syntax == LS else struct.pack(">II", 47, 33)
    huge = struct.pack(">HH", 60_000, 60_000) if syntax == LS else struct.pack(">II", 60_000, 60_000)
    path = _wrapped(tmp_path / "b.dcm", [frame.replace(size, huge, 1)], syntax, GREY)
    with pytest.raises(
        ImageError, match=r"b\.dcm: expected a compressed frame of 47×33 pixels, got one of 60000×60000"
    ):
        read_grey(path)


def _deflated(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, pixels, **elements))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(DEFLATED)
    dataset.save_as(path)
    return path


def test_deflated_files_are_read(tmp_path: Path) -> None:
    expected = read_grey(write_dicom(tmp_path / "a.dcm", DEEP))
    path = _deflated(tmp_path / "b.dcm", DEEP)
    np.testing.assert_array_equal(read_grey(path), expected)
    assert image_size(path) == (20, 30)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match=r"b\.dcm: truncated among its deflated elements"):
        read_grey(path)


def test_a_deflated_bomb_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _deflated(tmp_path / "a.dcm", DEEP)
    inflated = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    header = path.read_bytes()[: path.read_bytes().index(DEFLATED.encode()) + len(DEFLATED)]
    monkeypatch.setattr("base_models.imaging.reader.MAX_PIXELS", 1_000_000)
    path.write_bytes(header + inflated.compress(bytes(50_000_000)) + inflated.flush())
    for read in (read_grey, image_size):
        tracemalloc.start()
        with pytest.raises(ImageError, match=r"a\.dcm: its deflated elements hold more than 3,000,000 bytes"):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20_000_000


def test_run_lengths_are_read_and_far_too_long_ones_are_not(tmp_path: Path) -> None:
    whole = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", DEEP))
    whole.compress(pydicom.uid.UID(RLE))
    whole.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_grey(tmp_path / "b.dcm"), read_grey(tmp_path / "a.dcm"))
    long = _wrapped(tmp_path / "d.dcm", [bytes(2**21)], RLE, DEEP)
    with pytest.raises(ImageError, match=r"d\.dcm: expected the 1,200 bytes of one frame of 20×30"):
        read_grey(long)


def test_compressed_pixels_of_another_number_or_size_are_refused(tmp_path: Path) -> None:
    frame = encoded(Image.fromarray(DEEP), "JPEG2000", irreversible=False)
    good = _wrapped(tmp_path / "a.dcm", [frame], J2K_LOSSLESS, DEEP)
    pair = _wrapped(tmp_path / "b.dcm", [frame, frame], J2K_LOSSLESS, DEEP)
    with pytest.raises(ImageError, match=r"b\.dcm: expected one compressed frame, got 2"):
        read_grey(pair)
    other = encoded(Image.new("I;16", (900, 800)), "JPEG2000")
    with pytest.raises(ImageError, match=r"c\.dcm: \S"):
        read_grey(_wrapped(tmp_path / "c.dcm", [other], J2K_LOSSLESS, DEEP))
    assert read_grey(good).shape == (30, 20)
