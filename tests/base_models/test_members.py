import pytest
import torch

from base_models.config import MemberConfig
from base_models.members import forward_flops, meta_network, new_network


def test_flops_are_those_of_the_convolutions_and_matrices() -> None:
    member = MemberConfig("a", image_size=32, options={"blocks": 1, "width": 4})
    network, total = new_network(member, 3), 0

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * module.weight[0].numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(count)
    network.eval()(torch.zeros(1, 1, 32, 32))
    assert forward_flops(meta_network(member, 3), member) == total


@pytest.mark.parametrize(
    ("network", "size", "reason"),
    [
        ("squeezenet1_0", 16, "Output size is too small"),
        ("vit_b_16", 32, "Expected 224 but got 32"),
        ("maxvit_t", 64, "is invalid for input"),
    ],
)
def test_sizes_that_a_network_does_not_take_are_refused(network: str, size: int, reason: str) -> None:
    member = MemberConfig("a", network, size)
    words = rf"the network '{network}' takes, got {size} \(.*{reason}.*\); try 224"
    with pytest.raises(ValueError, match=words):
        forward_flops(meta_network(member, 2), member)
