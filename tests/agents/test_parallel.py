import math
import os
import sys

import pytest

from agents.parallel import check_backend, run_all


def squared(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_every_task_is_done_once(n_jobs):
    outcomes = list(run_all(squared, range(5), n_jobs=n_jobs))
    assert sorted(result for result, _ in outcomes) == [0, 1, 4, 9, 16]
    assert all((process == os.getpid()) == (n_jobs == 1) for _, process in outcomes)


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


def test_a_local_dask_cluster_does_the_same():
    pytest.importorskip("distributed", reason="dask's cluster (the package distributed) is not installed")
    outcomes = list(run_all(math.factorial, [3, 4, 5], n_jobs=2, backend="dask"))
    assert sorted(outcomes) == [6, 24, 120]
