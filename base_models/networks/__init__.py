"""Networks that turn a batch of radiographs into class logits, behind one registry."""

from base_models.networks import attention_cnn  # noqa: F401  # importing a network registers it
from base_models.networks.registry import NETWORKS, create_model, list_models, register_model

__all__ = ["NETWORKS", "create_model", "list_models", "register_model"]
