"""The policy networks by name."""

from typing import Any, Literal

import torch

from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.body_part_attention import BodyPartAttention
from agents.policy.networks.mlp import MLPNetwork
from agents.policy.networks.rlensemble_v1 import RLEnsembleV1Network
from agents.policy.networks.shared_head import PolicyNetwork
from mura_env.observations import ObservationLayout

NetworkName = Literal["shared_head", "mlp", "body_part_attention", "rlensemble_v1"]

_CLASSES: dict[str, type[StackedNetwork]] = {
    "shared_head": PolicyNetwork,
    "mlp": MLPNetwork,
    "body_part_attention": BodyPartAttention,
    "rlensemble_v1": RLEnsembleV1Network,
}


def make_policy_network(
    config: Any,
    layout: ObservationLayout,
    n_models: int,
    n_policies: int,
    generator: torch.Generator | None = None,
    *,
    with_average: bool = False,
) -> StackedNetwork:
    """Make a stack of policies of the kind that a configuration names.

    Args:
        config: A `PolicyConfig`: `network`, `hidden_size` and, for `body_part_attention` and
            `rlensemble_v1`, `attention_body_parts` and `attention_beta` are read.
        layout: What the observation's columns mean.
        n_models: Members of the ensemble.
        n_policies: Policies in the stack.
        generator: Source of the first weights.
        with_average: Whether the average of the members is scored too.
    """
    options: dict[str, Any] = {"with_average": with_average}
    if config.network in ("body_part_attention", "rlensemble_v1"):
        options |= {"body_parts": config.attention_body_parts, "beta": config.attention_beta}
    network_class = _CLASSES[config.network]
    return network_class(layout, n_models, n_policies, config.hidden_size, generator, **options)
