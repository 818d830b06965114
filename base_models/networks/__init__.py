"""Networks that turn a batch of radiographs into class logits, behind one registry."""

from base_models.networks import attention_cnn  # noqa: F401  # importing a network registers it
from base_models.networks.registry import create_model, list_models

__all__ = ["create_model", "list_models"]
