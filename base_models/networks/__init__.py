"""Networks that turn a batch of radiographs into class logits, behind one registry."""

from base_models.networks import attention_cnn, efficientnet_lite  # noqa: F401  # importing registers
from base_models.networks.registry import NETWORKS, create_model, list_models, register_model

__all__ = ["NETWORKS", "create_model", "list_models", "register_model"]
