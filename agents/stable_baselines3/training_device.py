"""Training on another device than the processor, whose network stays where it is."""

import copy
from collections.abc import Mapping

import torch

from agents.policy.stacked_network import StackedNetwork
from agents.policy.training_watch import Report


def training_device(name: str) -> torch.device:
    """Return a device that can compute.

    Args:
        name: Its name in torch, such as `cpu` or `cuda:0`.

    Raises:
        ValueError: If there is none of that name on this machine.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"expected a device of this machine, such as 'cpu' or 'cuda', got {name!r}: {reason}"
        ) from None
    return device


def network_on(
    device: torch.device, network: StackedNetwork, report: Report
) -> tuple[StackedNetwork, Report]:
    """Return the network to train on a device, and a report that first brings its parameters back.

    Args:
        device: Where it is trained.
        network: On the processor, where it is scored.
        report: Called while it is trained.

    Returns:
        On the processor the network itself and the report itself.
    """
    if device == torch.device("cpu"):
        return network, report
    trained = copy.deepcopy(network)  # the algorithm moves it

    def bring_back_and_report(steps: int, scalars: Mapping[str, float] | None = None) -> None:
        network.load_state_dict(trained.state_dict())
        report(steps, scalars)

    return trained, bring_back_and_report
