"""All fits of an ensemble: how they share processes, GPUs and the machines of torchrun."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

import cv2
import joblib
from joblib.externals.loky import ProcessPoolExecutor
from torch import nn

from base_models.config import EnsembleConfig
from base_models.distributed import ALONE, ProcessGroup, assign
from base_models.networks.registry import NETWORKS
from base_models.training.checkpoint import EpochCounter, remove_checkpoint
from base_models.training.device import DeviceConfig, machine_gpus
from base_models.training.fit import FitJob, FitResult, is_finished, run_fit
from mura_env.utils.progress import Progress
from mura_env.utils.workers import end_with_parent, replaced_workers_unmentioned, sending


def run_fits(
    jobs: Sequence[FitJob],
    config: EnsembleConfig,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    group: ProcessGroup = ALONE,
) -> list[FitResult]:
    """Run all fits and return their results in the order of the jobs, in every process of the group.

    Alone, this process runs them one after another or starts processes for them. Processes of torchrun take a
    share of the fits each, or together the batches of one fit after another. How whole fits are divided
    decides how long it takes, not what comes out. A process whose fit fails does not wait for the fits of the
    others; what is finished is kept for a resumed run.
    """
    with group.synchronized():
        if group.is_global_zero and not resume:
            for job in jobs:
                remove_checkpoint(job.checkpoint)
    gpus = machine_gpus(config.devices)
    n_processes = min(config.jobs or len(gpus) or joblib.cpu_count(), len(jobs))
    costs = [float(job.cost) for job in jobs]
    own_gpu = gpus[group.local_rank % len(gpus)] if gpus else None
    longest_first = assign(costs, 1)[0]
    epochs = [job.member.epochs for job in jobs]
    finished = [resume and is_finished(job) for job in jobs]
    report = EpochCounter([job.checkpoint for job in jobs], epochs, finished, progress)
    if group.world_size > 1 and config.parallelism == "fits":
        own = assign(costs, group.world_size)[group.rank]
        parts = group.all_gather(_run_serial(jobs, own, resume, report, DeviceConfig(own_gpu)))
        results = {index: result for part in parts for index, result in part.items()}
        report.finish(results)
    elif group.world_size > 1 or n_processes == 1:
        results = _run_serial(jobs, longest_first, resume, report, DeviceConfig(own_gpu, group))
    else:
        devices = [DeviceConfig(gpus[i % len(gpus)] if gpus else None) for i in range(n_processes)]
        results = _run_parallel(jobs, longest_first, resume, report, devices)
    return [results[index] for index in range(len(jobs))]


def _run_serial(
    jobs: Sequence[FitJob], order: list[int], resume: bool, report: EpochCounter, device: DeviceConfig
) -> dict[int, FitResult]:
    """Run the fits in this process."""
    results: dict[int, FitResult] = {}
    for index in order:
        results[index] = run_fit(jobs[index], resume, report, device)
        report.finish([index])
    return results


def _run_parallel(
    jobs: Sequence[FitJob],
    order: list[int],
    resume: bool,
    report: EpochCounter,
    devices: Sequence[DeviceConfig],
) -> dict[int, FitResult]:
    """Run the fits in one process per device."""
    waiting, results = deque(order), dict[int, FitResult]()
    running: dict[Future[FitResult], tuple[int, DeviceConfig]] = {}
    free = list(reversed(devices))
    networks = NETWORKS.registered()
    # loky's processes neither inherit locks held by threads (fork) nor run a user's script again (spawn).
    with (
        replaced_workers_unmentioned(),
        sending(networks.values()),
        ProcessPoolExecutor(len(devices), initializer=_prepare_process) as pool,
    ):
        try:
            while waiting or running:
                while waiting and free:
                    index, device = waiting.popleft(), free.pop()
                    fit = pool.submit(_run_fit_with, networks, jobs[index], resume, device)
                    running[fit] = index, device
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    index, device = running.pop(future)
                    results[index] = future.result()
                    free.append(device)
                    report.finish([index])
                report()
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise
    return results


def _run_fit_with(
    networks: Mapping[str, Callable[..., nn.Module]], job: FitJob, resume: bool, device: DeviceConfig
) -> FitResult:
    """Run a fit in another process, which knows no network that a script has registered."""
    NETWORKS.add(networks)
    return run_fit(job, resume, None, device)


def _prepare_process() -> None:
    """Limit OpenCV to the fit's core and the fit to the life of the run; let it start loader processes."""
    cv2.setNumThreads(1)
    # A process that this one starts asks for its way of starting by name, and does not know loky's.
    multiprocessing.set_start_method("spawn", force=True)
    end_with_parent()
