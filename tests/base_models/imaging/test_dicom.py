import sys
from pathlib import Path

import numpy as np
import pytest

from base_models.data.image_cache import open_image_cache
from base_models.imaging.decoding import SquareFormat
from base_models.imaging.dicom import suffix_of
from base_models.imaging.reader import ImageError, decode, image_size, misnamed, read_file, read_grey
from tests.base_models.imaging.dicoms import DEEP, lookup_table, write_dicom
from tests.base_models.trees import picture, save_picture

pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")


def test_files_are_recognised_by_their_letters_too(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    bare = path.rename(tmp_path / "IM0001")
    assert read_grey(bare).shape == DEEP.shape


def test_content_decides_over_the_name(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    expected = read_grey(path)
    named = path.rename(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(named), expected)
    assert image_size(named) == (20, 30)
    found = misnamed(named, decode(named, read_file(named)))
    assert found == "its content is DICOM, not what its name says; rename it"
    save_picture(tmp_path / "grey.png", picture(0))
    np.testing.assert_array_equal(
        read_grey((tmp_path / "grey.png").rename(tmp_path / "grey.dcm")), picture(0)
    )


def test_a_name_that_is_an_identifier_has_no_suffix(tmp_path: Path) -> None:
    names = {"1.2.840.113619.78": "", "CR.1.2.840.9": "", "a.PNG": ".png", "a.j2k": ".j2k", "a": "", "a.": ""}
    assert {name: suffix_of(name) for name in names} == names
    path = write_dicom(tmp_path / "a.dcm", DEEP).rename(tmp_path / "1.2.840.113619.2.5.1762583153.78")
    assert misnamed(path, decode(path, read_file(path))) is None


def test_a_data_set_without_its_letters_says_what_is_missing(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    path.write_bytes(path.read_bytes()[132:])
    for read in (read_grey, image_size):
        with pytest.raises(ImageError, match=r"a\.dcm: no image of a known kind: .*DICM.*dcmconv"):
            read(path)


def test_what_pydicom_warns_of_is_not_given(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP, NumberOfFrames=1)
    expected = read_grey(path)
    path.write_bytes(path.read_bytes().replace(b"IS\x02\x001 ", b"IS\x02\x001."))
    with pytest.warns(UserWarning, match="Invalid value for VR IS"):
        assert pydicom.dcmread(path).NumberOfFrames == 1
    np.testing.assert_array_equal(read_grey(path), expected)  # any warning is an error in these tests
    assert image_size(path) == (20, 30)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"NumberOfFrames": 2}, "expected one frame in grey or colours, got 2"),
        ({"PhotometricInterpretation": "CMYK"}, "expected one frame in grey or colours, got 1 in CMYK"),
        ({"Rows": None}, "expected a description of its pixels, got no Rows"),
        (
            {"RescaleSlope": 1, "RescaleIntercept": "1e999"},
            "expected finite greys, got black at inf",
        ),
        ({"Rows": 60000, "Columns": 60000}, "60000×60000 pixels, more than"),
        (
            {"ModalityLUTSequence": [lookup_table([1, 2], 5000)]},
            "expected a modality table of its values, which go from 0 to 4095, got one from 5000 to 5001",
        ),
    ],
)
def test_other_images_are_refused_by_name(tmp_path: Path, elements: dict[str, object], message: str) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP, **elements)
    with pytest.raises(ImageError, match=rf"a\.dcm: {message}"):
        read_grey(path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    content = path.read_bytes()
    for damaged in (content[:400], b"", b"no image at all"):
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match=r"a\.dcm: \S+"):
            read_grey(path)


def test_without_pydicom_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"a\.dcm: DICOM needs .*\[dicom\]"):
        read_grey(path)


@pytest.mark.parametrize("copies", [2, 5])
def test_surplus_pixels_are_refused_by_name(tmp_path: Path, copies: int) -> None:
    path = write_dicom(tmp_path / "a.dcm", DEEP, PixelData=DEEP.tobytes() * copies)
    reason = rf"a\.dcm: expected the 1,200 bytes of one frame of 20×30 pixels, got {1200 * copies:,}"
    with pytest.raises(ImageError, match=reason):
        read_grey(path)
    cache = open_image_cache([path], SquareFormat(16), tmp_path / "cache")
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
