"""The benchmark: agents fitted over seeds, scored on the test table, compared with uniform averaging.

The public functions are loaded on first use, so that reading a benchmark's document imports no agent.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.benchmark.external_validation import evaluate_saved_agents
    from agents.benchmark.run import check_tables, run_benchmark

__all__ = ["check_tables", "evaluate_saved_agents", "run_benchmark"]


def __getattr__(name: str) -> Any:
    """Import a public function from its home at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "external_validation" if name == "evaluate_saved_agents" else "run"
    return getattr(import_module(f"agents.benchmark.{home}"), name)
