import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from base_models.networks.input_format import GREY, INPUT_FORMAT, PUBLISHED_RGB, InputFormat

IMAGES = torch.arange(2 * 3 * 4, dtype=torch.uint8).reshape(2, 3, 4) * 10


@pytest.mark.parametrize("input_format", [GREY, PUBLISHED_RGB])
def test_every_plane_shows_the_same_grey_by_its_own_numbers(input_format: InputFormat) -> None:
    planes = input_format.planes(IMAGES)
    assert planes.shape == (2, input_format.in_channels, 3, 4)
    for k, (mean, scale) in enumerate(zip(input_format.mean, input_format.scale, strict=True)):
        expected = (IMAGES.numpy() / 255 - mean) / scale
        np.testing.assert_allclose(planes[:, k].numpy(), expected, atol=1e-5)


def test_the_packages_own_format_is_one_plane() -> None:
    assert GREY.in_channels == 1


def test_one_plane_sends_a_gpu_nothing_that_the_processor_would_wait_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mean, scale = torch.tensor(GREY.mean), torch.tensor(GREY.scale)
    expected = (IMAGES.unsqueeze(1).float() / 255 - mean) / scale
    monkeypatch.delattr(torch, "tensor")
    assert torch.equal(GREY.planes(IMAGES), expected)


def test_a_format_survives_json() -> None:
    assert INPUT_FORMAT.validate_python(json.loads(json.dumps(asdict(PUBLISHED_RGB)))) == PUBLISHED_RGB


@pytest.mark.parametrize("wrong", [((), ()), ((0.1,), (0.0,)), ((0.1, 0.2), (1.0,))])
def test_impossible_formats_are_refused(wrong: tuple[tuple[float, ...], tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="expected a mean and a positive scale"):
        InputFormat(*wrong)
    with pytest.raises(ValueError, match="expected an aspect"):
        InputFormat(aspect="cropped")  # type: ignore[arg-type]
