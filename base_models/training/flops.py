"""What a forward pass of a network costs, and whether the network takes images of its size at all.

Networks are on torch's meta device, where tensors have shapes but no values: nothing is computed.
"""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from base_models.config import MemberConfig
from base_models.members import new_network
from base_models.networks.registry import fresh_format
from mura_env.errors import UserError


def empty_network(member: MemberConfig, n_classes: int) -> nn.Module:
    """Create a member's network without values.

    Raises:
        ValueError: If there is no such network, or it does not take the member's options.
    """
    with torch.random.fork_rng(devices=[]):  # some constructors do not work on the meta device
        return new_network(member, n_classes).to("meta")


def forward_cost(network: nn.Module, member: MemberConfig) -> int:
    """Count the floating-point operations of one image's way through a member's network.

    Args:
        network: From `empty_network`.
        member: Gives the image size.

    Raises:
        ValueError: If the network does not take images of this size.
    """
    size, planes = member.image_size, fresh_format(member.network).in_channels
    try:
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(2, planes, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:  # each library refuses in its own way
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"expected an image size that the network {member.network!r} takes, got {size} ({reason}); try "
            "224, or let a network of torchvision enlarge the images with its option least_size"
        ) from error
    return int(counter.get_total_flops()) // 2
