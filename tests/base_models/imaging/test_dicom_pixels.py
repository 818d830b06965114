import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.data.image_cache import open_image_cache
from base_models.imaging.reader import ImageError, image_size, read_grey
from tests.base_models.imaging.test_dicom import DEEP, encoded, pydicom, write_dicom

JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"


def _compressed(path: Path, syntax: str, frames: list[bytes], pixels: np.ndarray = DEEP) -> Path:
    """Write a file whose pixels are some compressed frames."""
    dataset = pydicom.dcmread(write_dicom(path, pixels))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    return path


def _deflated(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, pixels, **elements))
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(DEFLATED)
    dataset.save_as(path)
    return path


def _runs(n_bytes: int) -> bytes:
    """A run-length frame for 16 bits, of two segments of this many bytes, which say 64 zeros each."""
    segment = b"\x81\x00" * (n_bytes // 2)
    return struct.pack("<16L", 2, 64, 64 + n_bytes, *[0] * 13) + segment * 2


@pytest.mark.parametrize("copies", [2, 5])
def test_surplus_pixels_are_refused_by_name(tmp_path: Path, copies: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP, PixelData=DEEP.tobytes() * copies)
    reason = rf"a\.dcm: expected the 1,200 bytes of one frame of 20×30 pixels, got {1200 * copies:,}"
    with pytest.raises(ImageError, match=reason):
        read_grey(path)
    cache = open_image_cache([path], 16, tmp_path / "cache")
    assert set(cache.unreadable) == {path}


def test_surplus_colours_are_refused_by_name(tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 3), np.uint8)
    elements = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    path = write_dicom(
        tmp_path / "a.dcm",
        colours,
        **elements,
        PhotometricInterpretation="RGB",
        PixelData=colours.tobytes() * 2,
    )
    with pytest.raises(
        ImageError, match=r"a\.dcm: expected the 60 bytes of one frame of 5×4 pixels, got 120"
    ):
        read_grey(path)
    path = write_dicom(tmp_path / "b.dcm", colours, **elements)
    with pytest.raises(ImageError, match=r"b\.dcm: expected pixels of shape \(4, 5\), got \(4, 5, 3\)"):
        read_grey(path)


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


def test_run_lengths_are_read_and_bombs_of_them_are_not(tmp_path: Path) -> None:
    grey = np.zeros((1500, 1500), np.uint16)
    whole = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", DEEP))
    whole.compress(pydicom.uid.UID(RLE))
    whole.save_as(tmp_path / "b.dcm")
    np.testing.assert_array_equal(read_grey(tmp_path / "b.dcm"), read_grey(tmp_path / "a.dcm"))
    bomb = _compressed(tmp_path / "c.dcm", RLE, [_runs(2**22 + 1000)], grey)
    with pytest.raises(ImageError, match=r"c\.dcm: expected 2,250,000 bytes in each run-length segment"):
        read_grey(bomb)
    long = _compressed(tmp_path / "d.dcm", RLE, [_runs(2**20)])
    with pytest.raises(ImageError, match=r"d\.dcm: expected at most 1,200 bytes and headers for 20×30"):
        read_grey(long)


def test_compressed_pixels_of_another_number_or_size_are_refused(tmp_path: Path) -> None:
    frame = encoded(Image.fromarray(DEEP), "JPEG2000", irreversible=False)
    good = _compressed(tmp_path / "a.dcm", JPEG_2000, [frame])
    pair = _compressed(tmp_path / "b.dcm", JPEG_2000, [frame, frame])
    with pytest.raises(ImageError, match=r"b\.dcm: expected one compressed frame, got 2"):
        read_grey(pair)
    other = encoded(Image.new("I;16", (900, 800)), "JPEG2000")
    with pytest.raises(ImageError, match=r"c\.dcm: expected compressed pixels of 20×30, got some of 900×800"):
        read_grey(_compressed(tmp_path / "c.dcm", JPEG_2000, [other]))
    assert read_grey(good).shape == (30, 20)
