import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor
from torch import Tensor, nn

from base_models.config import EnsembleConfig
from base_models.networks.registry import NETWORKS, register_model
from base_models.training import fit_pool
from base_models.training.checkpoint import Stopwatch
from base_models.training.device import CPU, DeviceConfig
from base_models.training.fit import FitJob, FitResult, run_fit
from mura_env.errors import UserError
from tests.base_models.training.test_fit import JOB, small_job


def test_a_network_of_a_script_is_trained_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent to it is unpickled where nobody has registered the network."""
    known = dict(NETWORKS._items)
    monkeypatch.setattr(NETWORKS, "_items", dict(known))

    @register_model("of_script")
    class OfScript(nn.Module):
        def __init__(self, n_classes: int, in_channels: int) -> None:
            super().__init__()
            self.fc = nn.Linear(in_channels, n_classes)

        def forward(self, images: Tensor) -> Tensor:
            return self.fc(images.mean(dim=(2, 3)))

    job = small_job(tmp_path)
    job = replace(job, member=replace(job.member, network="of_script", options={}))
    sent = cloudpickle.dumps((fit_pool._run_fit_with, NETWORKS.registered(), job, False, CPU))
    monkeypatch.setattr(NETWORKS, "_items", known)
    with pytest.raises(UserError, match="got 'of_script'"):
        run_fit(job)
    function, *arguments = cloudpickle.loads(sent)
    result = function(*arguments)
    np.testing.assert_array_equal(result.logits, run_fit(job, resume=True).logits)


def _jobs(folder: Path, n: int) -> list[FitJob]:
    return [
        replace(
            JOB,
            fold=fold,
            weights=folder / f"fold{fold}",
            train=replace(JOB.train, rows=np.arange(10 + fold % 3)),
        )
        for fold in range(n)
    ]


@pytest.mark.parametrize(("n_gpus", "n_jobs", "at_once"), [(2, 0, 2), (2, 4, 4), (3, 2, 2), (0, 2, 2)])
def test_fits_are_divided_among_the_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_gpus: int, n_jobs: int, at_once: int
) -> None:
    started, lock, together = [], threading.Lock(), threading.Barrier(at_once)
    busy: Counter[DeviceConfig] = Counter()

    def fake_fit(job: FitJob, resume: bool, on_epoch: object, device: DeviceConfig) -> FitResult:
        with lock:
            started.append((job.fold, device))
            busy[device] += 1
            assert busy[device] <= -(-at_once // max(n_gpus, 1)) or not n_gpus
        if len(started) <= at_once:
            together.wait(timeout=600)  # the first ones do run at the same time
        with lock:
            busy[device] -= 1
        return FitResult(np.full((1, 2), job.fold), [], Stopwatch(), "")

    monkeypatch.setattr(fit_pool, "run_fit", fake_fit)
    monkeypatch.setattr(fit_pool, "machine_gpus", lambda wanted: list(range(n_gpus))[: wanted or n_gpus])
    monkeypatch.setattr(fit_pool, "ProcessPoolExecutor", ThreadPoolExecutor)
    monkeypatch.setattr(fit_pool, "_prepare_process", lambda: None)
    jobs = _jobs(tmp_path, 8)
    config = EnsembleConfig((JOB.member,), jobs=n_jobs, folds=8)
    results = fit_pool.run_fits(jobs, config)
    assert [int(result.logits[0, 0]) for result in results] == list(range(8))
    gpus = {DeviceConfig(gpu) for gpu in range(min(n_gpus, at_once))} or {CPU}
    assert {device for _, device in started} == gpus
    sizes = [len(jobs[fold].train.rows) for fold, _ in started[:at_once]]
    assert min(sizes) == 12 if at_once == 2 else max(sizes) == 12  # the longest fits begin
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_fit_in_a_process_of_its_own_may_have_processes_that_prepare_batches(tmp_path: Path) -> None:
    job = small_job(tmp_path / "processes", loader_processes=1)
    with ProcessPoolExecutor(1, initializer=fit_pool._prepare_process) as pool:
        result = pool.submit(run_fit, job).result()
    np.testing.assert_array_equal(result.logits, run_fit(small_job(tmp_path / "alone")).logits)
