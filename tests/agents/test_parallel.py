import math
import multiprocessing
import os
import sys
import threading
import types
from dataclasses import replace
from importlib.machinery import SourceFileLoader

import numpy as np
import pytest
from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import BACKENDS

from agents import make_agent, parallel, register_agent
from agents.benchmark import run_benchmark
from agents.benchmark.fits import Fit, run_fits
from agents.parallel import check_backend, run_all, workers_stopped
from agents.registry import AGENTS
from mura_env.errors import UserError
from mura_env.rewards import REWARDS
from tests.agents.tables import switching_table


def squared(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_task_is_done_once(n_jobs, monkeypatch):
    monkeypatch.setattr(parallel, "_LARGE_LIBRARIES", ())  # which workers would take seconds to import

    def here(number):  # sent by value: they do without this module as well
        return number**2, os.getpid()

    outcomes = list(run_all(here, range(5), n_jobs=n_jobs))
    assert sorted(result for result, _ in outcomes) == [0, 1, 4, 9, 16]
    assert all((process == os.getpid()) == (n_jobs == 1) for _, process in outcomes)


def test_workers_that_are_kept_do_the_next_work_too(monkeypatch):
    monkeypatch.setattr(parallel, "_LARGE_LIBRARIES", ())

    def here(number):  # sent by value, as above
        return os.getpid()

    with workers_stopped():
        first = set(run_all(here, range(8), n_jobs=2, keep_workers=True))
        second = set(run_all(here, range(8), n_jobs=2, keep_workers=True))
    assert len(first | second) <= 2
    for pid in first | second:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_outcomes_come_one_by_one():
    done = []

    def noted(number):
        done.append(number)
        return number

    assert next(iter(run_all(noted, [3, 4], n_jobs=1))) == 3
    assert done == [3]


SCRIPT = """
from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from agents import Agent, AgentConfig, register_agent
from mura_env import ENVIRONMENT_ID, Reward, register_reward


class Start(enum.Enum):
    FIRST = 0
    LAST = -1


@dataclass(frozen=True, kw_only=True)
class ScriptConfig(AgentConfig):
    start: Start | None = None
    kind: Literal["sum", "mean"] = "sum"
    reward: Any = "correctness"


def row_of(rewards, start, n_models):
    return np.eye(n_models)[(start or Start.FIRST).value] + abs(np.sum(rewards))


@register_agent("of_script")
class OfScript(Agent[ScriptConfig]):
    config_class = ScriptConfig

    def _fit(self, train, validation, seed, progress, callback):
        env = gymnasium.make_vec(
            ENVIRONMENT_ID, num_envs=8, predictions=train, reward=self.config.reward
        )
        env.reset(seed=seed)
        rewards = env.step(np.zeros((8, train.n_models), np.float32))[1]
        self.arrays_ = {"row": row_of(rewards, self.config.start, train.n_models)}

    def _weights(self, table, body_parts):
        return np.tile(self.arrays_["row"], (len(table), 1))


@register_reward("of_script")
@dataclass(frozen=True)
class ScriptReward(Reward):
    def prepare(self, table):
        return lambda decisions: 2 * decisions.correct.astype(np.float32)
"""


@pytest.fixture
def script(monkeypatch):
    """What a script or notebook registers is in `__main__`, which worker processes do not run."""
    monkeypatch.setattr(parallel, "_LARGE_LIBRARIES", ())
    for registry in (AGENTS, REWARDS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    names = vars(sys.modules["__main__"])
    before = dict(names)
    exec(compile(SCRIPT, "script.py", "exec", dont_inherit=True), names)  # noqa: S102 - as a notebook does
    yield dict(names)
    names.clear()
    names.update(before)


def test_agents_and_rewards_of_a_script_reach_worker_processes(script, tmp_path):
    """With options of its own types and a callable reward; a saved agent is read there too."""
    table = switching_table(60, 0)

    def half(decisions):
        return decisions.correct.astype(np.float32) / 2

    options = [{"reward": half, "start": script["Start"].LAST}, {"reward": "of_script", "kind": "mean"}, {}]
    fits = [Fit("of_script", of_fit, seed, None) for seed, of_fit in enumerate(options)]
    fits[2].agent(table, resume=True).save(tmp_path)
    fits[2] = replace(fits[2], directory=tmp_path)

    def row(fit):
        return fit.agent(table, resume=True).arrays_["row"].tolist()

    there = run_fits(row, fits, "fitting", n_jobs=2, backend="loky", progress=None)
    with workers_stopped():
        found = {fit.seed: row for fit, row in there}
    assert found == {fit.seed: row(fit) for fit in fits}
    assert len({tuple(row) for row in found.values()}) == 3


def test_options_that_no_saved_agent_could_hold_are_refused_before_anything_is_fitted(script, tmp_path):
    tables = switching_table(60, 0), switching_table(60, 1, prefix="t")
    with pytest.raises(UserError, match="agent 'of_script' that its JSON file can hold, got Object of type"):
        run_benchmark(*tables, {"of_script": {"start": script["Start"].LAST}}, [0], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_module_that_workers_cannot_import_is_sent(script, tmp_path, monkeypatch):
    (tmp_path / "anywhere.txt").write_text(SCRIPT.replace("of_script", "of_file"))
    loader = SourceFileLoader("module_of_no_path", str(tmp_path / "anywhere.txt"))
    module = types.ModuleType("module_of_no_path")
    monkeypatch.setitem(sys.modules, "module_of_no_path", module)
    loader.exec_module(module)
    asked = ["of_script", "of_file", "static"]
    assert sorted(run_all(lambda name: make_agent(name).name, asked, n_jobs=2)) == sorted(asked)


def test_what_cannot_be_sent_is_one_sentence(script):
    @register_agent("with_a_lock")
    class WithALock(script["OfScript"]):
        lock = threading.Lock()

    with pytest.raises(UserError, match=r"sent to worker processes, got .*cannot pickle .*jobs 1"):
        list(run_all(squared, [1, 2], n_jobs=2))
    assert list(run_all(lambda _: make_agent("with_a_lock").name, [1], n_jobs=1)) == ["with_a_lock"]


def test_nothing_to_do_is_no_error():
    assert list(run_all(squared, [])) == []


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_backend_that_is_not_installed_is_explained(backend, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"expected the package '{package}' .*pip install {package}"):
        list(run_all(squared, [1], backend=backend))
    with pytest.raises(ValueError, match="loky, dask, ray, got 'spark'"):
        check_backend("spark")


def test_ray_is_asked_through_its_own_joblib_backend(monkeypatch):
    """With threads in place of its cluster: what this package itself does to use it."""
    stand_in = types.ModuleType("ray.util.joblib")
    stand_in.register_ray = lambda: monkeypatch.setitem(BACKENDS, "ray", ThreadingBackend)
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    monkeypatch.setitem(sys.modules, "ray.util.joblib", stand_in)
    outcomes = list(run_all(squared, range(4), n_jobs=2, backend="ray"))
    assert [result for result, _ in outcomes] == [0, 1, 4, 9]


@pytest.fixture
def distributed():
    """Dask, waiting as long as a busy machine takes to start its processes."""
    package = pytest.importorskip("distributed", reason="dask (the package distributed) is not installed")
    import dask

    timeouts = {f"distributed.comm.timeouts.{name}": "30 minutes" for name in ("connect", "tcp")}
    with dask.config.set(timeouts):
        yield package


@pytest.mark.slow
def test_the_workers_of_a_dask_cluster_do_the_work(distributed):
    """A real cluster of two processes; a benchmark on it gives what this process gives."""
    train, test = switching_table(120, 0, n_parts=3), switching_table(90, 1, n_parts=3, prefix="t")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        outcomes = list(run_all(squared, range(6), backend="dask"))
        options = {"agents": ["static", "best_single"], "seeds": [0], "n_resamples": 50}
        on_cluster = run_benchmark(train, test, **options, backend="dask")
    assert sorted(result for result, _ in outcomes) == [0, 1, 4, 9, 16, 25]
    processes = {process for _, process in outcomes}
    assert processes
    assert os.getpid() not in processes
    assert on_cluster == run_benchmark(train, test, **options, n_jobs=1)


@pytest.mark.usefixtures("distributed")
def test_a_dask_cluster_is_opened_where_there_is_none():
    outcomes = list(run_all(math.factorial, [3, 4, 5], n_jobs=2, backend="dask"))
    assert sorted(outcomes) == [6, 24, 120]


@pytest.mark.parametrize("n_jobs", [0, -1, 10**5, 1.5])
def test_numbers_of_processes_that_no_machine_has_are_refused_before_one_starts(n_jobs):
    with pytest.raises(ValueError, match=r"expected n_jobs .*in the range \[1, 1024\], got"):
        list(run_all(squared, range(3), n_jobs=n_jobs))


@pytest.mark.parametrize("is_script", [True, False])
def test_a_script_that_dask_s_processes_import_again_is_told_to_guard_its_call(monkeypatch, is_script):
    package = pytest.importorskip("distributed", reason="dask (the package distributed) is not installed")

    class Client:
        current = staticmethod(package.Client.current)

        def __init__(self, **_):
            raise RuntimeError("Nanny failed to start." if not is_script else "not to be called")

    monkeypatch.setattr(package, "Client", Client)
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", is_script, raising=False)
    with pytest.raises(UserError, match='below `if __name__ == "__main__":`') as refused:
        list(run_all(squared, range(3), n_jobs=2, backend="dask"))
    assert (refused.value.__cause__ is None) == is_script
