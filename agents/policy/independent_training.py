"""Independent training: one policy at a time, in processes, for algorithms that cannot train a stack."""

import warnings
from bisect import bisect_right
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from joblib import Parallel, delayed, parallel_config
from torch import Tensor

from agents.monitor import Report, TrainingMonitor
from agents.parallel import WithPlugIns
from agents.policy.networks.base import StackedNetwork, single_thread
from agents.policy.stacked_env import PolicyStackEnv
from mura_env.utils.workers import end_with_parent, sending


@dataclass(frozen=True)
class Snapshot:
    """One policy at one checkpoint."""

    steps: int
    """Environment steps that it had made."""
    state: dict[str, Tensor]
    """State of its network."""
    mean_reward: float
    """Mean reward of the exploring policy since the checkpoint before."""
    scalars: dict[str, float]
    """Figures of the last update."""


def train_independently(
    train: Callable[[PolicyStackEnv, StackedNetwork, int, Report], None],
    make_envs: Sequence[Callable[[], PolicyStackEnv]],
    stack: StackedNetwork,
    *,
    seed: int,
    checkpoints: Sequence[float],
    n_jobs: int,
) -> Generator[list[Snapshot], None, None]:
    """Train every policy of a stack by itself; the result does not depend on the number of processes.

    Whoever stops asking for the next policy ends the training of those that are not finished.

    Args:
        train: Trains one policy in place.
        make_envs: Makes each policy's environment.
        stack: The policies before training, which stays as it is.
        seed: Seed of the first policy; the others count on from it.
        checkpoints: Steps after which a policy is kept, ascending.
        n_jobs: Processes.

    Yields:
        One policy after the other, its snapshots, as many as checkpoints.
    """
    calls = [
        (train, make_env, _single(stack, index), seed + 1_000 * index, checkpoints)
        for index, make_env in enumerate(make_envs)
    ]
    if n_jobs == 1:
        yield from (_train_one(*call) for call in calls)
        return
    with parallel_config(backend="loky", inner_max_num_threads=1, initializer=end_with_parent):
        train_one = WithPlugIns(_train_one)  # what rewards it may be of a script
        results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(train_one)(*call) for call in calls)
    try:
        with sending(train_one.items):
            for result in results:  # noqa: UP028 - `yield from` would close it before the warning is filtered
                yield result
    finally:
        with warnings.catch_warnings():
            # The library counts what is given up; who stopped asking knows.
            warnings.filterwarnings("ignore", r"\d+ tasks ", UserWarning)
            results.close()


def score_snapshots(
    snapshots: Sequence[Sequence[Snapshot]], stack: StackedNetwork, monitor: TrainingMonitor
) -> None:
    """Put policies that were trained by themselves into a stack again, and score it at every checkpoint."""
    for checkpoint in zip(*snapshots, strict=True):
        stack.load_state_dict(stacked_state([snapshot.state for snapshot in checkpoint], stack))
        first, rewards = checkpoint[0], np.array([snapshot.mean_reward for snapshot in checkpoint])
        monitor.log(first.steps, stack.n_policies, float(rewards.mean()), first.scalars)
        monitor.checkpoint(first.steps, stack, rewards)


def stacked_state(states: Sequence[Mapping[str, Tensor]], stack: StackedNetwork) -> dict[str, Tensor]:
    """Return the states of single policies as one stack's state."""
    of_policy = {name for name, _ in stack.named_parameters()}
    return {
        name: torch.cat([state[name] for state in states]) if name in of_policy else states[0][name]
        for name in states[0]
    }


def _single(stack: StackedNetwork, index: int) -> StackedNetwork:
    """Return one policy of a stack, with values of its own."""
    single = stack.resized(1)
    single.load_state_dict(stack.subset(slice(index, index + 1)).state_dict())
    return single


def _train_one(
    train: Callable[[PolicyStackEnv, StackedNetwork, int, Report], None],
    make_env: Callable[[], PolicyStackEnv],
    network: StackedNetwork,
    seed: int,
    checkpoints: Sequence[float],
) -> list[Snapshot]:
    env, snapshots = make_env(), list[Snapshot]()

    def report(steps: int, scalars: Mapping[str, float]) -> None:
        passed = bisect_right(checkpoints, steps)
        if passed > bisect_right(checkpoints, snapshots[-1].steps if snapshots else 0):
            state = {name: value.clone() for name, value in network.state_dict().items()}
            snapshots.append(Snapshot(steps, state, float(env.mean_rewards()[0]), dict(scalars)))

    with single_thread():
        train(env, network, seed, report)
    env.close()
    return snapshots
