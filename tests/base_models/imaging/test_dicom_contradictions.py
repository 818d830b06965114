"""DICOM files whose header contradicts their pixels, which are followed where they tell."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.imaging.reader import ImageError, decode
from tests.base_models.imaging.dicoms import write_dicom

pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")

RAMP = np.linspace(0, 4095, 40 * 50).reshape(40, 50).astype(np.uint16)


def _read(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    found = decode(path, path.read_bytes())
    return found.grey.astype(int), found.remarks


def _table(data: object, descriptor: list[int], vr: str = "US") -> "pydicom.dataset.Dataset":
    table = pydicom.dataset.Dataset()
    table.add_new("LUTDescriptor", "SS" if descriptor[1] < 0 else "US", descriptor)
    table.add_new("LUTData", vr, data)
    table.ModalityLUTType = "US"
    return table


def _scaled(values: np.ndarray, black: float, white: float) -> np.ndarray:
    return np.rint(255 * np.clip((values.astype(float) - black) / (white - black), 0, 1)).astype(int)


TWELVE = np.round(4095 * (np.arange(4096) / 4095) ** 2).astype(int)
EIGHT = np.round(TWELVE / 4095 * 255).astype(int)


@pytest.mark.parametrize("name", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize(
    ("entries", "declared", "bits"),
    [
        (TWELVE, 16, 12),
        (TWELVE, 8, 12),
        (TWELVE, 0, 12),
        (TWELVE, 12, None),
        (TWELVE, 13, None),
        (EIGHT, 16, 8),
        (EIGHT, 12, 8),
        (EIGHT, 8, None),
    ],
)
def test_the_depth_of_a_table_is_that_of_its_entries(
    tmp_path: Path, name: str, entries: np.ndarray, declared: int, bits: int | None
) -> None:
    table = _table(entries.tolist(), [4096, 0, declared])
    grey, remarks = _read(write_dicom(tmp_path / "a.dcm", RAMP, **{name: [table]}))
    white = 2 ** (bits or declared) - 1 if name.startswith("VOI") else entries.max()
    np.testing.assert_array_equal(grey, _scaled(entries[RAMP], 0, white))
    assert [f"but its entries are of {bits}" in remark for remark in remarks] == [True] * (bits is not None)


@pytest.mark.parametrize("declared", [8, 16])
@pytest.mark.parametrize("number", [256, 255])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_entries_of_8_bits_stand_two_in_a_word_or_one(
    tmp_path: Path, declared: int, number: int, packed: bool, vr: str
) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    entries = 255 - np.arange(number)
    data = entries.astype("<u1" if packed else "<u2").tobytes()
    data += bytes(len(data) % 2)
    content = data if vr == "OW" else np.frombuffer(data, "<u2").tolist()
    table = _table(content, [number, 0, declared], vr)
    grey, _ = _read(write_dicom(tmp_path / "a.dcm", pixels, VOILUTSequence=[table]))
    np.testing.assert_array_equal(grey, entries[np.minimum(pixels, number - 1)])


def test_a_table_of_another_length_is_refused_by_name(tmp_path: Path) -> None:
    for number in (100, 4095, 5000):
        table = _table(TWELVE.tolist(), [number, 0, 12])
        path = write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[table])
        with pytest.raises(ImageError, match=rf"the {number:,} entries of its table of interest, got 4,096"):
            _read(path)


def test_a_table_whose_begin_lost_its_sign_finds_it_again(tmp_path: Path) -> None:
    table = _table(TWELVE.tolist(), [4096, 2**16 - 1000, 12])
    path = write_dicom(
        tmp_path / "a.dcm", RAMP, VOILUTSequence=[table], RescaleSlope=1, RescaleIntercept=-1000
    )
    np.testing.assert_array_equal(_read(path)[0], _scaled(TWELVE[RAMP], 0, 4095))


def test_a_table_beside_the_values_is_left_out(tmp_path: Path) -> None:
    table = _table(TWELVE.tolist(), [4096, 20_000, 12])
    grey, (remark,) = _read(write_dicom(tmp_path / "a.dcm", RAMP, VOILUTSequence=[table]))
    np.testing.assert_array_equal(grey, _scaled(RAMP, 0, 4095))
    assert "table of interest lies beside all of its values" in remark


def test_a_palette_of_8_bits_in_16_is_not_black(tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    elements: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = np.arange(256, dtype="<u2").tobytes()
    np.testing.assert_array_equal(_read(write_dicom(tmp_path / "a.dcm", pixels, **elements))[0], pixels)


@pytest.mark.parametrize(
    "window",
    [
        {"WindowCenter": 2000, "WindowWidth": 0},
        {"WindowCenter": 2000, "WindowWidth": -3},
        {"WindowCenter": 2000, "WindowWidth": 0.2},
        {"WindowCenter": 2000, "WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": 2000, "WindowWidth": 0, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": 9000, "WindowWidth": 1000},
        {"WindowCenter": -900, "WindowWidth": 1000},
        {"WindowCenter": 9000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": [-40, 2000], "WindowWidth": [1, 4000]},
        {"WindowCenter": "1e400", "WindowWidth": 400},
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_leaves_nothing_is_left_out(
    tmp_path: Path, window: dict[str, object], photometric: str
) -> None:
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation=photometric, **window)
    grey, (remark,) = _read(path)
    expected = _scaled(RAMP, 0, 4095)
    assert np.abs(grey - (255 - expected if photometric == "MONOCHROME1" else expected)).max() <= 1
    assert "window leaves nothing of its values" in remark


@pytest.mark.parametrize(
    "window", [{"WindowCenter": 4000, "WindowWidth": 300}, {"WindowCenter": 1, "WindowWidth": 1}]
)
def test_a_window_that_leaves_something_is_followed(tmp_path: Path, window: dict[str, int]) -> None:
    grey, remarks = _read(write_dicom(tmp_path / "a.dcm", RAMP, **window))
    assert remarks == ()
    assert {grey.min(), grey.max()} == {0, 255} or grey.max() > 200
    assert np.abs(grey - _scaled(RAMP, 0, 4095)).max() > 100


def test_a_slope_of_0_is_left_out(tmp_path: Path) -> None:
    grey, (remark,) = _read(write_dicom(tmp_path / "a.dcm", RAMP, RescaleSlope=0, RescaleIntercept=5))
    np.testing.assert_array_equal(grey, _scaled(RAMP, 0, 4095))
    assert "Rescale Slope is 0" in remark


WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096, "VOILUTFunction": "LINEAR_EXACT"}


@pytest.mark.parametrize("high", [11, 12, 15])
@pytest.mark.parametrize("kind", [np.uint16, np.int16])
def test_the_highest_bit_is_where_the_pixels_have_it(tmp_path: Path, high: int, kind: type) -> None:
    """High Bit says that 12 bits end there; the pixels may have them there or at the bottom."""
    below = high - 11
    window = WINDOW if kind is np.uint16 else WINDOW | {"WindowCenter": 0}
    values = RAMP.astype(kind) - (2048 if kind is np.int16 else 0)
    expected = _scaled(RAMP, 0, 4096)
    for stored in (values, values << below):
        path = write_dicom(tmp_path / "a.dcm", stored.astype(kind), BitsStored=12, HighBit=high, **window)
        grey, remarks = _read(path)
        np.testing.assert_array_equal(grey, expected)
        assert remarks == ()


def test_values_deeper_than_bits_stored_do_not_wrap(tmp_path: Path) -> None:
    slope = np.add.outer(np.arange(60), np.arange(60)) * 4095 // 118
    for bits in (8, 10, 11):
        path = write_dicom(tmp_path / "a.dcm", slope.astype(np.uint16), BitsStored=bits, HighBit=bits - 1)
        grey, (remark,) = _read(path)
        np.testing.assert_array_equal(grey, _scaled(slope, 0, 4095))
        assert f"Bits Stored is {bits}, but its values need 12" in remark
    signed = slope.astype(np.int16) - 2000
    grey, (remark,) = _read(write_dicom(tmp_path / "b.dcm", signed, BitsStored=10, HighBit=9))
    np.testing.assert_array_equal(grey, _scaled(slope, 0, 4095))
    assert "need 13" in remark


def test_what_stands_in_unused_bits_is_left_out(tmp_path: Path) -> None:
    stripes = np.zeros_like(RAMP)
    stripes[:, ::5] = 1 << 15
    grey, (remark,) = _read(write_dicom(tmp_path / "a.dcm", RAMP | stripes))
    np.testing.assert_array_equal(grey, _scaled(RAMP, 0, 4095))
    assert "other bits is left out" in remark
    overlay = pydicom.dcmread(write_dicom(tmp_path / "b.dcm", RAMP | stripes))
    overlay.add_new((0x6000, 0x0102), "US", 15)
    overlay.save_as(tmp_path / "b.dcm")
    grey, remarks = _read(tmp_path / "b.dcm")  # which is no contradiction
    np.testing.assert_array_equal(grey, _scaled(RAMP, 0, 4095))
    assert remarks == ()


def test_a_cut_sign_is_found_again(tmp_path: Path) -> None:
    signed = RAMP.astype(np.int16) - 2048
    path = write_dicom(tmp_path / "a.dcm", signed & 0x0FFF, BitsStored=12, HighBit=11)
    grey, remarks = _read(path)
    np.testing.assert_array_equal(grey, _scaled(RAMP, 0, 4095))
    assert remarks == ()


def test_bits_that_nothing_tells_apart_are_refused_by_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2**16, (40, 50)).astype(np.uint16)
    for pixels in (noise, RAMP | (1 << 13)):
        path = write_dicom(tmp_path / "a.dcm", pixels, BitsStored=12, HighBit=11)
        with pytest.raises(
            ImageError, match=r"a\.dcm: expected values of 12 bits, as its Bits Stored says, got"
        ):
            _read(path)


def test_padding_outside_bits_stored_is_black_and_contradicts_nothing(tmp_path: Path) -> None:
    padded = RAMP.copy()
    padded[:3] = 65535
    grey, remarks = _read(write_dicom(tmp_path / "a.dcm", padded, PixelPaddingValue=65535))
    assert not grey[:3].any()
    np.testing.assert_array_equal(grey[3:], _scaled(RAMP[3:], RAMP[3].min(), 4095))
    assert remarks == ()


@given(bits=st.integers(9, 15), signed=st.booleans(), seed=st.integers(0, 50))
def test_pixels_that_keep_to_bits_stored_are_as_pydicom_reads_them(
    tmp_path_factory: pytest.TempPathFactory, bits: int, signed: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lowest = -(2 ** (bits - 1)) if signed else 0
    values = rng.integers(lowest, lowest + 2**bits, (6, 7)).astype(np.int16 if signed else np.uint16)
    values[0, :2] = lowest, lowest + 2**bits - 1
    path = write_dicom(tmp_path_factory.mktemp("bits") / "a.dcm", values, BitsStored=bits, HighBit=bits - 1)
    array = pydicom.dcmread(path).pixel_array
    grey, remarks = _read(path)
    np.testing.assert_array_equal(grey, _scaled(array, array.min(), array.max()))
    assert remarks == ()
