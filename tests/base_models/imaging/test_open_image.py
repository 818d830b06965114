import io
import warnings
from contextlib import ExitStack

import pytest
from PIL import Image, UnidentifiedImageError

from base_models.imaging.integrity import open_picture, quiet_decoders


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


def _warn(module: str) -> None:
    warnings.warn_explicit("of some file", UserWarning, "file.py", 1, module=module)


def test_decoders_are_quiet_as_long_as_one_thread_decodes() -> None:
    before = list(warnings.filters)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(quiet_decoders)
        second.enter_context(quiet_decoders)
        first.close()  # the thread that entered first leaves first
        _warn("PIL.TiffImagePlugin")
        _warn("pydicom.valuerep")
        with pytest.raises(UserWarning, match="of some file"):
            _warn("PILLAR")
    assert warnings.filters == before
    with pytest.raises(UserWarning, match="of some file"):
        _warn("pydicom.valuerep")


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
