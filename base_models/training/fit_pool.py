"""Running many fits over several processes, the longest first."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path

import cv2
import joblib
from joblib.externals.loky import ProcessPoolExecutor

from base_models.config import EnsembleConfig
from base_models.distributed import ALONE, ProcessGroup, assign
from base_models.training.device import Placement, machine_gpus
from base_models.training.fit import FitJob, FitResult, is_finished, run_fit
from mura_env.utils.progress import Progress
from mura_env.utils.workers import end_with_parent, replaced_workers_unmentioned

_SECONDS_BETWEEN_LOOKS = 0.5


def run_fits(
    jobs: Sequence[FitJob],
    config: EnsembleConfig,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    group: ProcessGroup = ALONE,
) -> list[FitResult]:
    """Run all fits and return their results in the order of the jobs.

    Alone, this process runs them one after another or starts processes for them. Processes that torchrun
    started take a share of the fits each, or all of them together the batches of one fit after another. How
    whole fits are divided decides how long it takes, not what comes out. A process whose fit fails does not
    wait for the fits of the others; what is finished is kept for a resumed run.

    Args:
        jobs: The fits.
        config: Gives the number of processes and GPUs, and what several machines divide.
        resume: Take finished weights over instead of training them again.
        progress: Called as `progress(description, completed, total)`, counting epochs of all fits.
        group: The processes that share the run; each gets all results.
    """
    tracker = _Tracker(jobs, resume, progress, group)
    gpus = machine_gpus(config.devices)
    n_processes = min(config.jobs or len(gpus) or joblib.cpu_count(), len(jobs))
    costs = [float(job.cost) for job in jobs]
    order = sorted(range(len(jobs)), key=lambda index: -costs[index])
    own_gpu = gpus[group.local_rank % len(gpus)] if gpus else None
    try:
        if group.size > 1 and config.spread == "batches":
            results = _run_serial(jobs, order, resume, tracker, Placement(own_gpu, group))
        elif group.size > 1:
            own = assign(costs, group.size)[group.rank]
            parts = group.gather(_run_serial(jobs, own, resume, tracker, Placement(own_gpu)))
            results = {index: result for part in parts for index, result in part.items()}
            for index in results:
                tracker.finish(index)
        elif n_processes == 1:
            results = _run_serial(jobs, order, resume, tracker, Placement(own_gpu))
        else:
            results = _run_parallel(jobs, order, resume, tracker, n_processes=n_processes, gpus=gpus)
        return [results[index] for index in range(len(jobs))]
    finally:
        tracker.clear()


def _run_serial(
    jobs: Sequence[FitJob], order: list[int], resume: bool, tracker: "_Tracker", placement: Placement
) -> dict[int, FitResult]:
    """Run the fits in this process."""
    results: dict[int, FitResult] = {}
    for index in order:
        count = partial(_count_epoch, tracker.files[index], tracker.report)
        results[index] = run_fit(jobs[index], resume, count, placement)
        tracker.finish(index)
    return results


def _run_parallel(
    jobs: Sequence[FitJob],
    order: list[int],
    resume: bool,
    tracker: "_Tracker",
    *,
    n_processes: int,
    gpus: Sequence[int],
) -> dict[int, FitResult]:
    """Run the fits in processes of their own; they count epochs in files, which any process can append to."""
    waiting, results = deque(order), dict[int, FitResult]()
    running: dict[Future[FitResult], tuple[int, Placement]] = {}
    free = [Placement(gpus[slot % len(gpus)] if gpus else None) for slot in reversed(range(n_processes))]
    # loky's processes neither inherit locks held by threads (fork) nor run a user's script again (spawn).
    with (
        replaced_workers_unmentioned(),
        ProcessPoolExecutor(n_processes, initializer=_prepare_process) as pool,
    ):
        try:
            while waiting or running:
                while waiting and free:
                    index, placement = waiting.popleft(), free.pop()
                    count = partial(_count_epoch, tracker.files[index])
                    running[pool.submit(run_fit, jobs[index], resume, count, placement)] = index, placement
                done, _ = wait(running, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in done:
                    index, placement = running.pop(future)
                    results[index] = future.result()
                    free.append(placement)
                    tracker.finish(index)
                tracker.report()
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise
    return results


def _prepare_process() -> None:
    """Keep OpenCV to the core that the fit has, and the fit to the life of the run; let it have processes."""
    cv2.setNumThreads(1)
    # A process that this one starts asks for its way of starting by name, and does not know loky's.
    multiprocessing.set_start_method("spawn", force=True)
    end_with_parent()


def _count_epoch(file: Path, report: Callable[[], None] | None = None) -> None:
    """Note in a file that one more epoch is done."""
    with file.open("ab") as stream:
        stream.write(b".")
    if report is not None:
        report()


class _Tracker:
    """Counts the epochs of all fits, one byte each, in a file beside the weights."""

    def __init__(
        self, jobs: Sequence[FitJob], resume: bool, progress: Progress | None, group: ProcessGroup
    ) -> None:
        self.files = [job.weights.with_suffix(".epochs") for job in jobs]
        self._epochs = [job.member.epochs for job in jobs]
        self._finished = {index for index, job in enumerate(jobs) if resume and is_finished(job)}
        self._progress = progress
        self._reported = -1
        self._group = group
        with group.together():
            if group.is_first:
                for file in self.files:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(b"")
        self.report()

    def finish(self, index: int) -> None:
        """Count a fit as done."""
        self._finished.add(index)
        self.report()

    def report(self) -> None:
        """Report the epochs done so far over all fits."""
        if self._progress is not None:
            done = sum(
                epochs if index in self._finished else min(epochs, self.files[index].stat().st_size)
                for index, epochs in enumerate(self._epochs)
            )
            if done != self._reported:
                self._reported = done
                self._progress("training", done, sum(self._epochs))

    def clear(self) -> None:
        """Remove the files."""
        if self._group.is_first:
            for file in self.files:
                file.unlink(missing_ok=True)
