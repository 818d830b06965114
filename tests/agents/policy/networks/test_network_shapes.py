import pytest
import torch
from torch import nn

from agents.policy.networks.base import network_shapes


def test_shapes_are_those_of_the_network():
    expected = {name: tuple(value.shape) for name, value in nn.Linear(3, 5).state_dict().items()}
    assert network_shapes(lambda: nn.Linear(3, 5)) == expected
    assert torch.zeros(1).device.type == "cpu"  # what was made for the shapes alone is not the default


@pytest.mark.parametrize("size", [10**12, 2**62, 10**30])
def test_no_memory_is_asked_for(size):
    try:
        assert network_shapes(lambda: nn.Linear(3, size))["bias"] == (size,)
    except ValueError as error:
        assert "too large" in str(error)  # noqa: PT017 - a size that torch can name, or this
