"""Many independent calls on all CPUs, or on the machines of a cluster, through joblib; and interrupts."""

import importlib
import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor

from agents.agent import Agent
from agents.registry import AGENTS, CONSULTATION_AGENTS
from mura_env import Reward
from mura_env.errors import UserError
from mura_env.rewards import REWARDS
from mura_env.utils.options import JOBS, option_types
from mura_env.utils.plugins import Registry
from mura_env.utils.workers import end_with_parent, replaced_workers_unmentioned, sending

Backend = Literal["loky", "dask", "ray"]

_LARGE_LIBRARIES = ("torch",)
_GUARD_MAIN = (
    "expected processes of dask that start, got some that end at once; in a script, which each imports, "
    'call this below `if __name__ == "__main__":`, or choose the backend loky'
)

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")


def run_all(
    function: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    *,
    n_jobs: int | None = None,
    backend: Backend = "loky",
    keep_workers: bool = False,
) -> Iterator[Outcome]:
    """Call a function on every task, and yield what it returns in the order in which the calls end.

    With `loky`, processes of this machine do the work, one thread each. With `dask`, the workers of the
    cluster whose scheduler dask's configuration names (`DASK_SCHEDULER_ADDRESS`), of the client that is
    already open, or else of a new local cluster; with `ray`, those of ray's cluster. Files that the function
    reads or writes must then lie where all workers see them.

    Args:
        function: Must be importable by the workers, or one that cloudpickle can send. They know the agents
            and rewards that this process has registered.
        tasks: Its arguments.
        n_jobs: Processes, as many as there are CPUs if None; one works in this very process. A cluster
            that exists already uses all its workers.
        backend: Who does the work.
        keep_workers: Leave the processes of this machine to the next call; see `workers_stopped`.

    Raises:
        UserError: If a backend is unknown or its package is not installed, the number of processes is out of
            range, or something cannot be sent.
    """
    check_backend(backend)
    if n_jobs is not None:
        JOBS.check("n_jobs", n_jobs, int)
    n_jobs = max(1, min(n_jobs or cpu_count(), len(tasks)))
    if backend == "loky" and n_jobs == 1:
        yield from map(function, tasks)
        return
    with ExitStack() as stack:
        if backend == "loky":
            # A large library that a worker imports after its first task has it replaced: what this process
            # needed is imported at once, and no worker is left for later.
            if not keep_workers:
                stack.callback(_stop_workers)
            stack.enter_context(replaced_workers_unmentioned())
            needed = [name for name in _LARGE_LIBRARIES if name in sys.modules]
            stack.enter_context(
                parallel_config(
                    backend="loky", inner_max_num_threads=1, initializer=_prepare_worker, initargs=(needed,)
                )
            )
            parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered")
        elif backend == "dask":
            _open_dask(stack, n_jobs)
            stack.enter_context(parallel_config(backend="dask"))
            parallel = Parallel(n_jobs=-1, return_as="generator_unordered")
        else:
            importlib.import_module("ray.util.joblib").register_ray()
            stack.enter_context(parallel_config(backend="ray"))
            parallel = Parallel(n_jobs=n_jobs)  # ray's backend cannot return before everything is done
        call = WithPlugIns(function)
        stack.enter_context(sending(call.items))
        yield from parallel(delayed(call)(task) for task in tasks)


def _registered(registry: Registry[type[Agent[Any]]]) -> dict[str, type[Agent[Any]]]:
    agents = registry.registered()
    for agent in agents.values():
        option_types(agent.config_class)  # while what its annotations name is at hand
    return agents


@dataclass(frozen=True, eq=False, repr=False)  # dask hashes functions, and names tasks by them
class WithPlugIns(Generic[Outcome]):
    """A function for worker processes, with the agents and rewards of a script, which they do not run."""

    function: Callable[..., Outcome]
    """What is called."""
    agents: Mapping[str, type[Agent[Any]]] = field(default_factory=partial(_registered, AGENTS))
    """What is registered first, by name."""
    consultation_agents: Mapping[str, type[Agent[Any]]] = field(
        default_factory=partial(_registered, CONSULTATION_AGENTS)
    )
    """The same."""
    rewards: Mapping[str, type[Reward]] = field(default_factory=REWARDS.registered)
    """The same."""

    @property
    def items(self) -> list[Any]:
        """All that is registered, and the agents' options."""
        agents = [*self.agents.values(), *self.consultation_agents.values()]
        return [*agents, *(agent.config_class for agent in agents), *self.rewards.values()]

    def __call__(self, *arguments: Any) -> Outcome:
        """Register, and call the function."""
        AGENTS.add(self.agents)
        CONSULTATION_AGENTS.add(self.consultation_agents)
        REWARDS.add(self.rewards)
        return self.function(*arguments)


@contextmanager
def workers_stopped() -> Iterator[None]:
    """Stop at the end the processes that calls of `run_all` have kept: starting them takes seconds."""
    try:
        yield
    finally:
        _stop_workers()


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown or whose package is not installed."""
    packages = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
    if backend not in packages:
        raise UserError(f"expected one of the backends {', '.join(packages)}, got {backend!r}")
    try:
        importlib.import_module(packages[backend])
    except ImportError as error:
        raise UserError(
            f"expected the package {packages[backend]!r} for the backend {backend!r}, got none installed; "
            f"install it (pip install {packages[backend]}), or choose the backend loky"
        ) from error


def _prepare_worker(names: Sequence[str]) -> None:
    """Import modules in a new process, and see that it ends with its parent."""
    end_with_parent()
    for name in names:
        importlib.import_module(name)


def _stop_workers() -> None:
    """Stop the processes that joblib keeps for its next call, and so free their memory."""
    get_reusable_executor().shutdown(wait=True)


def _open_dask(stack: ExitStack, n_jobs: int) -> None:
    """Connect to a cluster, unless a client is open; the stack closes what is opened here."""
    distributed: Any = importlib.import_module("distributed")
    dask: Any = importlib.import_module("dask")
    try:
        distributed.Client.current()
    except ValueError:
        if dask.config.get("scheduler-address", None) is not None:
            stack.enter_context(distributed.Client())
        elif getattr(multiprocessing.current_process(), "_inheriting", False):  # it imports the script again
            raise UserError(_GUARD_MAIN) from None
        else:
            try:
                client = distributed.Client(n_workers=n_jobs, threads_per_worker=1, dashboard_address=None)
            except RuntimeError as error:
                raise UserError(_GUARD_MAIN) from error
            stack.enter_context(client)


class TrainingInterrupted(UserWarning):
    """A training ended early; the message says what is kept."""


@contextmanager
def whole_trainings() -> Iterator[None]:
    """Pass an interrupt of a training on, lest one that ended early be taken for a finished one.

    Raises:
        KeyboardInterrupt: If a training inside was interrupted.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=TrainingInterrupted)
        try:
            yield
        except TrainingInterrupted as interrupted:
            raise KeyboardInterrupt(str(interrupted)) from interrupted
