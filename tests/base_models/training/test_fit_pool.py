import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor

from base_models.config import EnsembleConfig
from base_models.training import fit_pool
from base_models.training.checkpoint import Elapsed
from base_models.training.device import PROCESSOR, Placement
from base_models.training.fit import FitJob, FitResult, run_fit
from tests.base_models.training.test_fit import JOB, small_job


def _jobs(folder: Path, n: int) -> list[FitJob]:
    return [
        replace(JOB, fold=fold, weights=folder / f"fold{fold}", train_rows=np.arange(10 + fold % 3))
        for fold in range(n)
    ]


@pytest.mark.parametrize(("n_gpus", "n_jobs", "at_once"), [(2, 0, 2), (2, 4, 4), (3, 2, 2), (0, 2, 2)])
def test_fits_are_spread_over_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_gpus: int, n_jobs: int, at_once: int
) -> None:
    started, lock, together = [], threading.Lock(), threading.Barrier(at_once)
    busy: Counter[Placement] = Counter()

    def fake_fit(job: FitJob, resume: bool, on_epoch: object, placement: Placement) -> FitResult:
        with lock:
            started.append((job.fold, placement))
            busy[placement] += 1
            assert busy[placement] <= -(-at_once // max(n_gpus, 1)) or not n_gpus
        if len(started) <= at_once:
            together.wait(timeout=600)  # the first ones do run at the same time
        with lock:
            busy[placement] -= 1
        return FitResult(np.full((1, 2), job.fold), [], Elapsed(), "")

    monkeypatch.setattr(fit_pool, "run_fit", fake_fit)
    monkeypatch.setattr(fit_pool, "machine_gpus", lambda wanted: list(range(n_gpus))[: wanted or n_gpus])
    monkeypatch.setattr(fit_pool, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(fit_pool, "_prepare_process", lambda: None)
    jobs = _jobs(tmp_path, 8)
    config = EnsembleConfig((JOB.member,), jobs=n_jobs, folds=8)
    results = fit_pool.run_fits(jobs, config)
    assert [int(result.logits[0, 0]) for result in results] == list(range(8))
    gpus = {Placement(gpu) for gpu in range(min(n_gpus, at_once))} or {PROCESSOR}
    assert {placement for _, placement in started} == gpus
    sizes = [len(jobs[fold].train_rows) for fold, _ in started[:at_once]]
    assert min(sizes) == 12 if at_once == 2 else max(sizes) == 12  # the longest fits begin
    assert list(tmp_path.iterdir()) == []


def test_a_fit_in_a_process_of_its_own_may_have_processes_that_prepare_batches(tmp_path: Path) -> None:
    job = small_job(tmp_path / "processes", loader_processes=1)
    with ProcessPoolExecutor(1, initializer=fit_pool._prepare_process) as pool:
        result = pool.submit(run_fit, job).result()
    np.testing.assert_array_equal(result.logits, run_fit(small_job(tmp_path / "alone")).logits)
