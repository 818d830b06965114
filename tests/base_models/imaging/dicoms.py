"""DICOM files for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

DEEP = np.linspace(0, 4095, 600).reshape(30, 20).astype(np.uint16)
"""Pixels of 12 bits, 30 rows of 20."""


def write_dicom(path: Path, pixels: np.ndarray, **elements: object) -> Path:
    """Write an uncompressed DICOM file of one frame; skips the test where pydicom is not installed.

    Args:
        path: The file.
        pixels: Its pixels; 16 bits stand for 12.
        elements: Other values of elements of the data set.
    """
    pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset = pydicom.dataset.Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3.4"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored = 12 if pixels.dtype.itemsize == 2 else 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(dataset, name, value)
    dataset.PixelData = elements.get("PixelData", pixels.tobytes())
    dataset.save_as(path, enforce_file_format=True)
    return path


def lookup_table(entries: list[int], first: int, bits: int = 16) -> Any:
    """Return a look-up table whose entries stand for the stored values from the first one on."""
    pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
    table = pydicom.dataset.Dataset()
    table.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
    table.add_new("LUTData", "US", entries)
    table.ModalityLUTType = "US"
    return table
