"""The benchmark: agents fitted over seeds, scored on the test table, compared with uniform averaging.

The public functions are loaded on first use, so that reading a benchmark's document imports no agent.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.benchmark.external_validation import evaluate_saved_agents
    from agents.benchmark.run import check_tables, run_benchmark

__all__ = ["check_tables", "evaluate_saved_agents", "run_benchmark"]

_HOMES = {
    "check_tables": "agents.benchmark.run",
    "evaluate_saved_agents": "agents.benchmark.external_validation",
    "run_benchmark": "agents.benchmark.run",
}


def __getattr__(name: str) -> Any:
    """Import a public function from its home at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
