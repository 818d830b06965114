"""What all tests have in common."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mura_env.rewards import REWARDS
from tests.processors import processors

# No test asserts a time: how long an example takes, or drawing it, depends on what else the machine does.
TIMELESS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
# The same examples in every run, so that a suite that passed passes again; `make test-search` draws new ones.
settings.register_profile("repeat", **TIMELESS, derandomize=True)
settings.register_profile("search", **TIMELESS, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

LONG = (
    "agents/policy/test_policy_agent.py",
    "mura_app/test_pipeline.py",
    "notebooks/test_notebooks.py",
    "agents/benchmark/test_run.py",
    "base_models/test_distributed.py",
    "mura_app/commands/test_evaluate.py",
    "base_models/test_ensemble.py",
    "base_models/training/test_fit.py",
    "mura_app/test_several_processes.py",
    "mura_app/test_user_errors.py",
)
"""Modules that take longest, the longest first: begun last, they would keep one processor busy for minutes,
with nothing left to do for the others."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long modules (`make test` gives out modules in this order)."""
    place = {Path(__file__).parent / name: index for index, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def one_processor() -> Iterator[None]:
    """Every process of the suite behaves as on a machine with one processor.

    `make test` has a process a processor already, and to start another one takes longer than what tests ask
    of it. Tests of several processes name their number.
    """
    with processors(1):
        yield


@pytest.fixture(autouse=True)
def known_rewards() -> Iterator[None]:
    """Rewards that a test gives as objects are forgotten again: other tests list all there are."""
    known = {*REWARDS.registered()}
    yield
    for name in REWARDS.registered().keys() - known:
        del REWARDS._items[name]
