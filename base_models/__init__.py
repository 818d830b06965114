"""Base models: from radiographs to the per-study logits of a calibrated, cross-fitted ensemble.

The public functions are loaded on first use, so that reading a data set or a configuration does not
import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base_models.members import load_members
    from base_models.networks import create_model, list_models, register_model

__all__ = ["create_model", "list_models", "load_members", "register_model"]

_HOMES = {
    "create_model": "base_models.networks",
    "list_models": "base_models.networks",
    "load_members": "base_models.members",
    "register_model": "base_models.networks",
}


def __getattr__(name: str) -> Any:
    """Import a public function from its home at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
