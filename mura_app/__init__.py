"""The application: the command `mura`, the whole pipeline, its run directory and its report; `Ensemble`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mura_app.inference.ensemble import Ensemble

__all__ = ["Ensemble"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what needs torch at its first use (PEP 562)."""
    if name != "Ensemble":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("mura_app.inference.ensemble").Ensemble


def __dir__() -> list[str]:
    return sorted(__all__)
