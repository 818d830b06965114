"""Stored values of DICOM become greys: bits, scaling, windows, tables, padding and colours."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.imaging.reader import ImageError, decode, image_size, read_file, read_grey
from tests.base_models.imaging.dicoms import DEEP, lookup_table, write_dicom
from tests.base_models.trees import picture

pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")


def test_all_stored_bits_reach_the_scaling(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    expected = np.round(DEEP / DEEP.max() * 255)
    np.testing.assert_array_equal(read_grey(path), expected)
    assert image_size(path) == (20, 30)


def test_8_bit_and_signed_pixels(tmp_path: Path) -> None:
    grey = picture(0)
    np.testing.assert_array_equal(read_grey(write_dicom(tmp_path / "a.dcm", grey)), grey)
    signed = (DEEP.astype(np.int16) - 2000).astype(np.int16)
    np.testing.assert_array_equal(
        read_grey(write_dicom(tmp_path / "b.dcm", signed, BitsStored=16, HighBit=15)),
        np.round(DEEP / DEEP.max() * 255),
    )


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    bright = read_grey(write_dicom(tmp_path / "a.dcm", DEEP)).astype(int)
    dark = read_grey(write_dicom(tmp_path / "b.dcm", DEEP, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(dark - (255 - bright)).max() <= 1  # halves are rounded
    assert dark[0, 0] == 255


def test_rescale_and_window_equal_a_plain_loop(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        DEEP,
        RescaleSlope=2,
        RescaleIntercept=-1000,
        WindowCenter=[3000, 1],
        WindowWidth=[1500, 1],
    )
    expected = np.zeros(DEEP.shape)
    for index, stored in np.ndenumerate(DEEP):
        x, c, w = 2 * float(stored) - 1000, 3000.0, 1500.0
        if x <= c - 0.5 - (w - 1) / 2:
            y = 0.0
        elif x > c - 0.5 + (w - 1) / 2:
            y = 255.0
        else:
            y = ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
        expected[index] = y
    np.testing.assert_array_equal(read_grey(path), np.rint(expected))


def test_empty_elements_say_nothing(tmp_path: Path) -> None:
    expected = read_grey(write_dicom(tmp_path / "a.dcm", DEEP))
    empty = dict.fromkeys(
        ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelPaddingValue"), None
    )
    path = write_dicom(tmp_path / "b.dcm", DEEP, **empty, NumberOfFrames=None, VOILUTFunction="")
    np.testing.assert_array_equal(read_grey(path), expected)
    only_the_slope = write_dicom(tmp_path / "c.dcm", DEEP, RescaleSlope=None, RescaleIntercept=-1000)
    np.testing.assert_array_equal(read_grey(only_the_slope), expected)


@pytest.mark.parametrize("limit", [None, 65000])
def test_padding_takes_no_part_in_the_scaling(tmp_path: Path, limit: int | None) -> None:
    padded = DEEP.copy()
    padded[:2] = 65535
    padded[2, 0] = 65000 if limit else 65535
    deep = {"BitsStored": 16, "HighBit": 15}
    path = write_dicom(
        tmp_path / "a.dcm", padded, PixelPaddingValue=65535, PixelPaddingRangeLimit=limit, **deep
    )
    exposed = padded <= 4095
    lowest = float(DEEP[exposed].min())
    expected = np.where(exposed, np.rint((padded - lowest) / (4095 - lowest) * 255), 0)
    np.testing.assert_array_equal(read_grey(path), expected)
    nothing = write_dicom(tmp_path / "b.dcm", np.full_like(DEEP, 7), PixelPaddingValue=7)
    assert read_grey(nothing).shape == DEEP.shape


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("window", [{}, {"WindowCenter": 2000, "WindowWidth": 9000}])
def test_padding_becomes_black(tmp_path: Path, photometric: str, window: dict[str, int]) -> None:
    padded = DEEP.copy()
    padded[:5] = 0
    path = write_dicom(
        tmp_path / "a.dcm", padded, PhotometricInterpretation=photometric, PixelPaddingValue=0, **window
    )
    grey = read_grey(path)
    assert not grey[:5].any()
    assert grey[5, 0] > 200 if photometric == "MONOCHROME1" and not window else grey[6:].any()


@pytest.mark.parametrize("slope", [1, -1, 0.25])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_the_whole_range_of_8_bits_is_shown_in_the_order_of_its_values(
    tmp_path: Path, slope: float, kind: type
) -> None:
    grey = np.arange(40, 160, dtype=np.int64).reshape(10, 12)
    stored = (grey - (128 if kind is np.int8 else 0)).astype(kind)
    path = write_dicom(tmp_path / "a.dcm", stored, RescaleSlope=slope, RescaleIntercept=7)
    np.testing.assert_array_equal(read_grey(path), grey if slope > 0 else 255 - grey)


@pytest.mark.parametrize(("first", "kind"), [(0, np.uint16), (1000, np.uint16), (-300, np.int16)])
@pytest.mark.parametrize("window", [None, (20_000, 30_000)])
def test_a_modality_table_equals_a_plain_loop(
    tmp_path: Path, first: int, kind: type, window: tuple[int, int] | None
) -> None:
    entries = [int(value) for value in np.random.default_rng(0).integers(0, 65_536, 3000)]
    stored = DEEP.astype(kind)
    elements: dict[str, object] = {"BitsStored": 16, "HighBit": 15}
    elements["ModalityLUTSequence"] = [lookup_table(entries, first)]
    if window:
        elements |= {"WindowCenter": window[0], "WindowWidth": window[1], "VOILUTFunction": "LINEAR_EXACT"}
    values = np.zeros(stored.shape)
    for index, pixel in np.ndenumerate(stored):
        values[index] = entries[min(max(int(pixel) - first, 0), len(entries) - 1)]
    lowest, highest = values.min(), values.max()
    if window:
        lowest, highest = window[0] - window[1] / 2, window[0] + window[1] / 2
    expected = np.rint(255 * np.clip((values - lowest) / (highest - lowest), 0, 1))
    path = write_dicom(tmp_path / "a.dcm", stored, **elements)
    np.testing.assert_array_equal(read_grey(path), expected)


def test_a_modality_table_of_8_bits_may_invert(tmp_path: Path) -> None:
    table = lookup_table(list(range(255, -1, -1)), 0, bits=8)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = write_dicom(tmp_path / "a.dcm", grey, ModalityLUTSequence=[table])
    np.testing.assert_array_equal(read_grey(path), 255 - grey)


def test_a_contradiction_about_black_is_refused_by_name(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP, PresentationLUTShape="INVERSE")
    with pytest.raises(
        ImageError, match=r"a\.dcm: expected PresentationLUTShape IDENTITY beside MONOCHROME2"
    ):
        read_grey(path)
    # Where both say that the lowest value is white, it is inverted once.
    once = {"PhotometricInterpretation": "MONOCHROME1"}
    expected = read_grey(write_dicom(tmp_path / "b.dcm", DEEP, **once))
    both = write_dicom(tmp_path / "c.dcm", DEEP, **once, PresentationLUTShape="INVERSE")
    np.testing.assert_array_equal(read_grey(both), expected)


def test_a_deep_image_takes_little_memory(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (1500, 1000)).astype(np.uint16)
    for name, window in (("a.dcm", {"WindowCenter": 2000, "WindowWidth": 3000}), ("b.dcm", {})):
        path = write_dicom(tmp_path / name, pixels, **window)
        data = read_file(path)
        tracemalloc.start()
        decode(path, data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 14 * pixels.size


@pytest.mark.parametrize("function", ["LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [1, -2])
def test_other_windows_equal_their_formula(tmp_path: Path, function: str, slope: int) -> None:
    window = {"WindowCenter": 1800 * slope, "WindowWidth": 900, "VOILUTFunction": function}
    path = write_dicom(tmp_path / "a.dcm", DEEP, RescaleSlope=slope, RescaleIntercept=0, **window)
    place = (DEEP.astype(float) * slope - 1800 * slope) / 900
    shares = np.clip(place + 0.5, 0, 1) if function == "LINEAR_EXACT" else 1 / (1 + np.exp(-4 * place))
    np.testing.assert_array_equal(read_grey(path), np.rint(255 * shares))


def test_a_window_of_width_1_is_a_threshold(tmp_path: Path) -> None:
    pixels = np.array([[8, 9, 10, 11]], dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", pixels, WindowCenter=10, WindowWidth=1)
    np.testing.assert_array_equal(read_grey(path), [[0, 0, 255, 255]])
    with pytest.raises(ImageError, match=r"b\.dcm: .*CUBIC"):
        read_grey(
            write_dicom(tmp_path / "b.dcm", pixels, WindowCenter=10, WindowWidth=5, VOILUTFunction="CUBIC")
        )


@pytest.mark.parametrize(("bits", "highest"), [(8, 255), (12, 4095), (16, 65535)])
def test_a_long_table_of_interest_is_looked_up_at_every_depth(
    tmp_path: Path, bits: int, highest: int
) -> None:
    table = lookup_table(np.linspace(highest, 0, 3000).round().astype(int).tolist(), 500, bits)
    values = [min(max(int(pixel) - 500, 0), 2999) for pixel in DEEP.ravel()]
    expected = np.array([table.LUTData[value] for value in values]).reshape(DEEP.shape) / highest * 255
    path = write_dicom(tmp_path / "a.dcm", DEEP, VOILUTSequence=[table])
    np.testing.assert_array_equal(read_grey(path), np.rint(expected))


def test_a_table_of_values_of_interest_is_looked_up(tmp_path: Path) -> None:
    table = pydicom.dataset.Dataset()
    table.add_new("LUTDescriptor", "US", [4, 100, 16])
    table.add_new("LUTData", "US", [0, 65535, 20000, 40000])
    pixels = np.array([[0, 100, 101], [102, 103, 900]], dtype=np.uint16)
    path = write_dicom(tmp_path / "a.dcm", pixels, VOILUTSequence=[table])
    np.testing.assert_array_equal(read_grey(path), [[0, 0, 255], [78, 156, 156]])


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_become_pillows_luminance(tmp_path: Path, photometric: str) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)
    stored = np.asarray(Image.fromarray(colours).convert("YCbCr" if photometric == "YBR_FULL" else "RGB"))
    path = write_dicom(
        tmp_path / "a.dcm",
        stored,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation=photometric,
    )
    expected = np.asarray(Image.fromarray(colours).convert("L")).astype(int)
    # Two roundings on the way from luminance and chrominance to colours and back.
    assert np.abs(read_grey(path) - expected).max() <= (1 if photometric == "RGB" else 2)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    indices = np.arange(4, dtype=np.uint8).repeat(3).reshape(4, 3)
    colours = np.array([[0, 0, 0], [65535, 0, 0], [0, 65535, 0], [65535, 65535, 65535]], np.uint16)
    tables = {}
    for name, column in zip(("Red", "Green", "Blue"), colours.T, strict=True):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = column.tobytes()
    path = write_dicom(tmp_path / "a.dcm", indices, PhotometricInterpretation="PALETTE COLOR", **tables)
    np.testing.assert_array_equal(read_grey(path)[:, 0], [0, 76, 150, 255])  # 0.299, 0.587 of 255
