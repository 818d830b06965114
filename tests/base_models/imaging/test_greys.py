import numpy as np
import pytest

from base_models.imaging.greys import blocks_of_rows, by_rows


@pytest.mark.parametrize("shape", [(1, 1), (700, 900), (3, 300_000), (0, 5), (5, 0), (600, 1000, 3)])
def test_every_row_is_in_one_block(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    rows = [row for block in blocks_of_rows(pixels) for row in range(shape[0])[block]]
    assert rows == list(range(shape[0]))
    grey = by_rows(pixels, lambda some: 255 - (some if some.ndim == 2 else some[..., 1]))
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, 255 - (pixels if pixels.ndim == 2 else pixels[..., 1]))
