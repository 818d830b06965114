"""Speed of the environments: steps per second, beside the kernel, and how the cost grows with the table.

The kernel is the batched environment's own pure functions in one straight line: next studies from a
permutation drawn beforehand; gathers of probabilities, labels and observations; softmax, combination, argmax,
reward. Everything runs in one thread, and its CPU time is counted, so that other jobs on the machine
disturb the figures little.

    python benchmarks/bench_env.py            # a table, then the same numbers as one JSON document
    python benchmarks/bench_env.py --json     # the JSON document alone
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from document import machine
from gymnasium.vector import AutoresetMode

from mura_env import ENVIRONMENT_ID, EnsembleWeightingEnv, EnsembleWeightingVectorEnv, Predictions
from mura_env.combination import combine, predicted_classes, softmax_weights

MURA = (13_457, 3, 2)
"""Studies, models and classes of MURA's training table with three members."""

NUM_ENVS = (1, 16, 256, 4096, 65_536)
ROUNDS = 12
"""Every contestant runs once a round, in turn; its best round counts, as the one least disturbed."""

ROUNDS_OF_LISTS = 2
"""Rounds of the lists of more than `LONG_LIST` scalar envs, which take a second a step."""

LONG_LIST = 256

SCALAR_ENV_BYTES = 64 * 1024
"""What a scalar env of `MURA` takes, most of it its own permutation of the studies."""

Contestant = tuple[Callable[[], Any], int, int]
"""What is timed, its environment steps per call, and calls per round."""

ListMaker = Callable[[Predictions, int], Callable[[], Any] | None]
"""Makes a vector environment of scalar envs and gives its step; None without stable-baselines3."""


def random_table(n_studies: int, n_models: int, n_classes: int) -> Predictions:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((n_studies, n_models, n_classes), dtype=np.float32)
    labels = rng.integers(0, n_classes, n_studies)
    parts = rng.integers(0, 7, n_studies)
    return Predictions.from_arrays(logits, labels, parts, body_part_names=[f"part-{i}" for i in range(7)])


def actions_for(num_envs: int, n_models: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (num_envs, n_models)).astype(np.float32)


def calls_per_round(num_envs: int, n_studies: int) -> int:
    """Enough for a whole epoch, so that drawing the order of studies is part of the cost."""
    return max(5, 20_000 // num_envs, -(-n_studies // num_envs) if num_envs >= 256 else 0)


def kernel(table: Predictions, num_envs: int) -> Callable[[], Any]:
    task = EnsembleWeightingVectorEnv(table, num_envs).task
    actions = actions_for(num_envs, table.n_models)
    log_references = task.log_references(np.arange(1))
    epochs = -(-num_envs // len(table)) + 1
    rng = np.random.default_rng(2)
    permutation = np.concatenate([rng.permutation(len(table)) for _ in range(epochs)])
    position = 0

    def step() -> Any:
        nonlocal position
        if position + num_envs > permutation.size:
            position = 0
        studies = permutation[position : position + num_envs]
        position += num_envs
        observations, shown = task.columns.gather(studies)
        weights = softmax_weights(actions, task.action_scale, log_references)
        predictions = predicted_classes(combine(shown.scores, weights))
        rewards = (predictions == shown.labels).astype(np.float32)
        rewards *= 2
        rewards -= 1
        return observations, rewards

    return step


def batched(table: Predictions, num_envs: int, **options: Any) -> Callable[[], Any]:
    env = gymnasium.make_vec(ENVIRONMENT_ID, num_envs=num_envs, predictions=table, **options)
    env.reset(seed=0)
    actions = actions_for(num_envs, table.n_models)
    return lambda: env.step(actions)


def adapted(table: Predictions, num_envs: int) -> Callable[[], Any] | None:
    try:
        from agents.stable_baselines3.adapter import VectorEnvAdapter  # noqa: PLC0415 - optional contestant
    except ImportError:
        return None
    env = VectorEnvAdapter(EnsembleWeightingVectorEnv(table, num_envs, infos=False))
    env.seed(0)
    env.reset()
    actions = actions_for(num_envs, table.n_models)
    return lambda: env.step(actions)


def scalar(table: Predictions) -> Callable[[], Any]:
    env = EnsembleWeightingEnv(table)
    env.reset(seed=0)
    action = actions_for(1, table.n_models)[0]

    def step() -> Any:
        result = env.step(action)
        env.reset()
        return result

    return step


def synchronous(table: Predictions, num_envs: int) -> Callable[[], Any]:
    makers = [lambda: EnsembleWeightingEnv(table)] * num_envs
    env = gymnasium.vector.SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    actions = actions_for(num_envs, table.n_models)
    return lambda: env.step(actions)


def dummy(table: Predictions, num_envs: int) -> Callable[[], Any] | None:
    try:
        from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: PLC0415 - optional contestant
    except ImportError:
        return None
    env = DummyVecEnv([lambda: EnsembleWeightingEnv(table)] * num_envs)
    env.reset()
    actions = actions_for(num_envs, table.n_models)
    return lambda: env.step(actions)


def rates(contestants: dict[str, Contestant], rounds: int = ROUNDS) -> dict[str, float]:
    """Measure environment steps per second of each contestant, from its best round."""
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for name, (step, _, calls) in contestants.items():
            step()
            begin = time.process_time()
            for _ in range(calls):
                step()
            best[name] = min(best[name], (time.process_time() - begin) / calls)
    return {name: contestants[name][1] / best[name] for name in contestants}


def available_memory() -> float:
    """Return the bytes of memory that are free to use; infinite where the system does not tell."""
    file = Path("/proc/meminfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((float(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), np.inf)


def speed_by_num_envs(table: Predictions) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, str]]]:
    """Measure steps per second of each contestant by number of environments; say why some are left out."""
    speed: dict[str, dict[str, float]] = {}
    left_out: dict[str, dict[str, str]] = {}
    for num_envs in NUM_ENVS:
        calls = min(2000, calls_per_round(num_envs, len(table)))
        few_calls = max(1, 2000 // num_envs)
        contestants: dict[str, Contestant] = {
            "kernel": (kernel(table, num_envs), num_envs, calls),
            "batched, infos": (batched(table, num_envs), num_envs, calls),
            "batched, no infos": (batched(table, num_envs, infos=False), num_envs, calls),
        }
        reasons = {} if num_envs == 1 else {"scalar": "one env"}
        if (step := adapted(table, num_envs)) is None:
            reasons["adapter"] = "no SB3"
        else:
            contestants["adapter"] = (step, num_envs, calls)
        if num_envs == 1:
            contestants["scalar"] = (scalar(table), 1, few_calls)
        lists: dict[str, ListMaker] = {"SyncVectorEnv": synchronous, "DummyVecEnv": dummy}
        if num_envs * SCALAR_ENV_BYTES > available_memory():
            reasons |= dict.fromkeys(lists, f"{num_envs * SCALAR_ENV_BYTES / 1e9:.1f} GB")
            lists.clear()
        for name in list(lists) if num_envs <= LONG_LIST else ():
            if (step := lists.pop(name)(table, num_envs)) is None:
                reasons[name] = "no SB3"
            else:
                contestants[name] = (step, num_envs, few_calls)
        speed[str(num_envs)] = rates(contestants)
        for name, make in lists.items():
            if (rate := rate_of_long_list(make, table, num_envs)) is None:
                reasons[name] = "no SB3"
            else:
                speed[str(num_envs)][name] = rate
        left_out[str(num_envs)] = reasons
    return speed, left_out


def rate_of_long_list(make: ListMaker, table: Predictions, num_envs: int) -> float | None:
    """Measure steps per second of a list of scalar envs, gigabytes that are gone when this returns."""
    step = make(table, num_envs)
    return None if step is None else rates({"list": (step, num_envs, 1)}, ROUNDS_OF_LISTS)["list"]


def requirements(speed: dict[str, dict[str, float]]) -> dict[str, float]:
    """Compute the ratios that the environment promises, from the rates with 4,096 environments."""
    at = speed["4096"]
    ratios = {
        "kernel share, infos": at["batched, infos"] / at["kernel"],
        "kernel share, no infos": at["batched, no infos"] / at["kernel"],
    }
    one = speed["1"].get("DummyVecEnv")
    if one is not None:
        ratios["times DummyVecEnv, infos"] = at["batched, infos"] / one
        ratios["times DummyVecEnv, no infos"] = at["batched, no infos"] / one
        if "adapter" in at:
            ratios["times DummyVecEnv, adapter"] = at["adapter"] / one
    return ratios


def growth(shapes: Iterable[tuple[int, int, int]]) -> dict[str, dict[str, float]]:
    """Measure microseconds per step of 4,096 environments, by studies, models and classes of the table."""
    result = {}
    for shape in shapes:
        table = random_table(*shape)
        calls = calls_per_round(4096, len(table))
        contestants = {
            "infos": (batched(table, 4096), 4096, calls),
            "no infos": (batched(table, 4096, infos=False), 4096, calls),
        }
        result[" x ".join(map(str, shape))] = {
            name: 4096 / rate * 1e6 for name, rate in rates(contestants).items()
        }
    return result


def peak_memory() -> float:
    """Measure the peak memory in GB of a process that steps on a table of 10^6 studies and 8 models."""
    command = [sys.executable, __file__, "--memory-only"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very file
    return float(done.stdout)


def million_studies() -> float:
    step = batched(random_table(10**6, 8, 2), 4096)
    for _ in range(300):
        step()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):  # unlike ru_maxrss, this peak does not begin with that of the parent
            return int(line.split()[1]) * 1024 / 1e9
    return float("nan")


def measure() -> dict[str, Any]:
    speed, left_out = speed_by_num_envs(random_table(*MURA))
    studies, models, classes = MURA
    by_studies = growth((n, models, classes) for n in (10**3, 10**4, 10**5, 10**6))
    first, *_, last = by_studies.values()
    return {
        "machine": machine(numpy=np.__version__),
        "table": dict(zip(("studies", "models", "classes"), MURA, strict=True)),
        "steps_per_second": speed,
        "left_out": left_out,
        "requirements": {
            **requirements(speed),
            "slowdown from 10^3 to 10^6 studies, infos": last["infos"] / first["infos"],
            "slowdown from 10^3 to 10^6 studies, no infos": last["no infos"] / first["no infos"],
            "GB for 10^6 studies x 8 models": peak_memory(),
        },
        "microseconds_per_step": {
            "studies": by_studies,
            "models": growth((studies, n, classes) for n in (3, 8, 16, 32)),
            "classes": growth((studies, models, n) for n in (2, 10, 100)),
        },
    }


def show(document: dict[str, Any]) -> None:
    print(f"mura_env: steps per second, table of {' x '.join(map(str, MURA))} (studies x models x classes)\n")
    speed, left_out = document["steps_per_second"], document["left_out"]
    names = list(dict.fromkeys(name for column in speed.values() for name in column))
    print(f"{'environments':<18}" + "".join(f"{int(n):>12,}" for n in speed))
    for name in names:
        cells = (
            f"{speed[n][name]:>12,.0f}" if name in speed[n] else f"{left_out[n][name]:>12}" for n in speed
        )
        print(f"{name:<18}" + "".join(cells))
    print("where there is no number: the scalar env is one env; GB are more memory than is free")
    print("\nwith 4,096 environments")
    for name, value in document["requirements"].items():
        print(f"  {name:<46}{value:>8.2f}")
    for axis, by_shape in document["microseconds_per_step"].items():
        print(f"\nmicroseconds per step of 4,096 environments, by {axis}")
        for shape, values in by_shape.items():
            print(f"  {shape:<22}" + "".join(f"{name:>10} {value:>9,.0f}" for name, value in values.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--json", action="store_true", help="print the JSON document alone, without the table"
    )
    parser.add_argument("--memory-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_only:
        print(million_studies())
        return
    document = measure()
    if not arguments.json:
        show(document)
        print()
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
