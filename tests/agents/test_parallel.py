import math
import multiprocessing
import os
import sys
import types

import pytest
from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import BACKENDS

from agents import parallel
from agents.benchmark import run_benchmark
from agents.parallel import check_backend, run_all, workers_stopped
from mura_env.errors import UserError
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


def test_workers_that_are_kept_do_the_next_work_too():
    with workers_stopped():
        first = {pid for _, pid in run_all(squared, range(8), n_jobs=2, keep_workers=True)}
        second = {pid for _, pid in run_all(squared, range(8), n_jobs=2, keep_workers=True)}
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
