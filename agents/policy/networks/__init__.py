"""Policy networks: from observation columns to logits of the weights."""

from typing import Literal

from agents.policy.networks.base import StackedNetwork
from agents.policy.networks.body_part_attention import BodyPartAttention
from agents.policy.networks.mlp import MLPNetwork
from agents.policy.networks.rlensemble_v1 import RLEnsembleV1Network
from agents.policy.networks.shared_head import SharedHeadNetwork

NetworkName = Literal["shared_head", "mlp", "body_part_attention", "rlensemble_v1"]

NETWORKS: dict[NetworkName, type[StackedNetwork]] = {
    "shared_head": SharedHeadNetwork,
    "mlp": MLPNetwork,
    "body_part_attention": BodyPartAttention,
    "rlensemble_v1": RLEnsembleV1Network,
}
"""The policy networks by name."""
