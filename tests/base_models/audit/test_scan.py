import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from base_models.audit.scan import ScannedImage, scan_images
from base_models.datasets.patient_proxy import difference_hash, thumbnail
from tests.base_models.trees import picture, save_picture


def test_a_file_is_described_by_its_size_mode_bytes_and_pixels(tmp_path: Path) -> None:
    pixels, path = picture(1, shape=(90, 70)), tmp_path / "one.png"
    save_picture(path, pixels)
    found = scan_images([path])[path]
    assert isinstance(found, ScannedImage)
    assert (found.width, found.height, found.mode) == (70, 90, "L")
    assert found.digest == hashlib.blake2b(path.read_bytes(), digest_size=8).hexdigest()
    np.testing.assert_array_equal(found.hash, difference_hash(pixels))
    np.testing.assert_array_equal(found.thumbnail, thumbnail(pixels))
    assert not found.constant
    assert found.misnamed is None


def test_equal_bytes_and_only_they_have_equal_digests(tmp_path: Path) -> None:
    for name, level in (("a.png", 1), ("b.png", 1), ("c.png", 9)):
        Image.fromarray(picture(1)).save(tmp_path / name, compress_level=level)
    a, b, c = scan_images([tmp_path / name for name in ("a.png", "b.png", "c.png")]).values()
    assert isinstance(a, ScannedImage)
    assert isinstance(b, ScannedImage)
    assert isinstance(c, ScannedImage)
    assert a.digest == b.digest != c.digest
    np.testing.assert_array_equal(a.thumbnail, c.thumbnail)


def test_what_cannot_be_read_has_a_reason_without_its_path(tmp_path: Path) -> None:
    empty, absent, grey = tmp_path / "empty.png", tmp_path / "absent.png", tmp_path / "grey.png"
    empty.write_bytes(b"")
    save_picture(grey, np.full((20, 20), 90, np.uint8))
    found = scan_images([empty, grey, absent])
    assert list(found) == [empty, grey, absent]
    for path in (empty, absent):
        reason = found[path]
        assert isinstance(reason, str)
        assert reason
        assert not reason.startswith(str(path))
    constant = found[grey]
    assert isinstance(constant, ScannedImage)
    assert constant.constant
    assert not constant.thumbnail.any()


def test_a_large_jpeg_keeps_its_own_size_and_nearly_its_thumbnail(tmp_path: Path) -> None:
    """JPEG files may be decoded at a fraction of their size; what is told is the size of the file."""
    pixels, path = picture(2, shape=(640, 480)), tmp_path / "large.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    found = scan_images([path])[path]
    assert isinstance(found, ScannedImage)
    assert (found.width, found.height) == (480, 640)
    assert float(found.thumbnail @ thumbnail(pixels)) > 0.999
