import io

import pytest
from PIL import Image, UnidentifiedImageError

from base_models.open_picture import open_picture


def _png(side: int) -> io.BytesIO:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return io.BytesIO(buffer.getvalue())


def test_pillows_warning_of_large_pictures_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)
    with pytest.warns(Image.DecompressionBombWarning, match="256 pixels"):
        Image.open(_png(16))
    assert open_picture(_png(16)).size == (16, 16)  # any warning is an error in these tests
    with pytest.raises(Image.DecompressionBombError):
        open_picture(_png(21))


def test_only_the_named_kinds_are_opened() -> None:
    assert open_picture(_png(4), ("PNG",)).format == "PNG"
    with pytest.raises(UnidentifiedImageError):
        open_picture(_png(4), ("JPEG",))


def test_no_format_is_opened_that_another_program_would_read() -> None:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "EPS")  # Pillow hands it to Ghostscript
    assert Image.open(buffer).format == "EPS"
    with pytest.raises(UnidentifiedImageError):
        open_picture(buffer)
