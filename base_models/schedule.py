"""Running many fits over several processes, the longest first."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path

import cv2
import joblib
from joblib.externals.loky import ProcessPoolExecutor

from base_models.fitting import FitJob, FitResult, is_finished, run_fit

Progress = Callable[[str, int, int], None]

_SECONDS_BETWEEN_LOOKS = 0.5


def run_fits(
    jobs: Sequence[FitJob], n_processes: int, resume: bool = False, progress: Progress | None = None
) -> list[FitResult]:
    """Run all fits and return their results in the order of the jobs.

    The number of processes decides how long it takes, not what comes out.

    Args:
        jobs: The fits.
        n_processes: Fits that run at the same time; 0 takes one per processor core, 1 stays in this process.
        resume: Take finished weights over instead of training them again.
        progress: Called as `progress(description, completed, total)`, counting epochs of all fits.
    """
    tracker = _Tracker(jobs, resume, progress)
    order = sorted(range(len(jobs)), key=lambda index: -jobs[index].cost)
    n_processes = min(n_processes or joblib.cpu_count(), len(jobs))
    try:
        if n_processes == 1:
            return _run_serial(jobs, order, resume, tracker)
        return _run_parallel(jobs, order, n_processes, resume, tracker)
    finally:
        tracker.clear()


def _run_serial(
    jobs: Sequence[FitJob], order: list[int], resume: bool, tracker: "_Tracker"
) -> list[FitResult]:
    """Run the fits in this process."""
    results: dict[int, FitResult] = {}
    for index in order:
        count = partial(_count_epoch, tracker.files[index], tracker.report)
        results[index] = run_fit(jobs[index], resume, count)
        tracker.finish(index)
    return [results[index] for index in range(len(jobs))]


def _run_parallel(
    jobs: Sequence[FitJob], order: list[int], n_processes: int, resume: bool, tracker: "_Tracker"
) -> list[FitResult]:
    """Run the fits in processes of their own; they count epochs in files, which any process can append to."""
    # loky's processes neither inherit locks held by threads (fork) nor run a user's script again (spawn).
    with ProcessPoolExecutor(n_processes, initializer=_prepare_process) as pool:
        futures: dict[Future[FitResult], int] = {
            pool.submit(run_fit, jobs[index], resume, partial(_count_epoch, tracker.files[index])): index
            for index in order
        }
        pending = set(futures)
        try:
            while pending:
                done, pending = wait(pending, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                for future in done:
                    future.result()
                    tracker.finish(futures[future])
                tracker.report()
        except BaseException:
            pool.shutdown(wait=True, kill_workers=True)
            raise
        results = {index: future.result() for future, index in futures.items()}
    return [results[index] for index in range(len(jobs))]


def _prepare_process() -> None:
    """Keep OpenCV to the core that the fit has."""
    cv2.setNumThreads(1)


def _count_epoch(file: Path, report: Callable[[], None] | None = None) -> None:
    """Note in a file that one more epoch is done."""
    with file.open("ab") as stream:
        stream.write(b".")
    if report is not None:
        report()


class _Tracker:
    """Counts the epochs of all fits, one byte each, in a file beside the weights."""

    def __init__(self, jobs: Sequence[FitJob], resume: bool, progress: Progress | None) -> None:
        self.files = [job.weights.with_suffix(".epochs") for job in jobs]
        self._epochs = [job.member.epochs for job in jobs]
        self._finished = {index for index, job in enumerate(jobs) if resume and is_finished(job)}
        self._progress = progress
        self._reported = -1
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
        for file in self.files:
            file.unlink(missing_ok=True)
