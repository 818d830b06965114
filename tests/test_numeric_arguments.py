"""Numbers that functions take from Python: out of their range, or none, they are refused by name."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agents.benchmark import evaluate_saved_agents, run_benchmark
from agents.metrics import calibration_error, evaluate
from agents.statistics.bootstrap import PatientBootstrap, interval
from agents.statistics.calibration import calibration_interval
from agents.statistics.hypothesis_tests import sign_flip_test
from base_models import create_model
from base_models.datasets import open_dataset
from base_models.ensemble import train_ensemble
from base_models.synthetic import draw_study, synthesize
from mura_env import EnsembleWeightingEnv, EnsembleWeightingVectorEnv, Predictions
from mura_env.errors import UserError

TABLE = Predictions.from_arrays(np.random.default_rng(0).normal(size=(40, 2, 2)), np.arange(40) % 2)
TRAIN, TEST = TABLE.split(0.5, seed=0)
HALVES = np.full((40, 2), 0.5)


def _benchmark(**options: Any) -> object:
    return run_benchmark(TRAIN, TEST, ["uniform"], **{"seeds": [0], "n_jobs": 1, **options})


def _evaluated(n_resamples: Any) -> object:
    return evaluate_saved_agents("absent", TRAIN, TEST, [], [0], n_resamples=n_resamples)


CALLS: dict[str, tuple[Callable[[Any], object], tuple[Any, ...]]] = {
    "n_jobs": (lambda n: _benchmark(n_jobs=n), (0, -1, 10**20, 1.5)),
    "n_cross_validated": (lambda n: _benchmark(n_cross_validated=n), (-1, 0.5, 10**9)),
    "n_resamples": (lambda n: _benchmark(n_resamples=n), (0, -5, 1e3, 10**9)),
    "seeds": (lambda n: _benchmark(seeds=[n]), (-1, 0.5, 2**32, True)),
    "n_resamples of a run": (_evaluated, (0, 10**9, None)),
    "n_resamples of a bootstrap": (
        lambda n: PatientBootstrap.draw(TABLE.labels, 2, TABLE.patient_ids, n),
        (0, -1, 2.0),
    ),
    "n_permutations": (lambda n: sign_flip_test(HALVES[:, 0], TABLE.patient_ids, n), (0, -5, 10**12)),
    "level": (lambda n: interval(np.arange(9.0), n), (0, 1, 95, float("nan"))),
    "level of a calibration error": (
        lambda n: calibration_interval(0.1, np.ones((2, 1, 3)), n),
        (0, 1, 95, "0.9", float("nan")),
    ),
    "threshold": (lambda n: evaluate(TABLE.labels, HALVES, threshold=n), (-0.1, 50, "0.5", float("nan"))),
    "n_bins": (lambda n: calibration_error(HALVES[:, 0] > 0, HALVES[:, 0], n), (0, -3, 1.5)),
    "fraction": (lambda n: TABLE.split(n, seed=0), (0, 1, 50, "half")),
    "seed": (lambda n: TABLE.split(0.5, seed=n), (-1, 10**12, None)),
    "seed of a data set": (lambda n: open_dataset("absent", seed=n), (-1, 1.5)),
    "seed of a study": (lambda n: draw_study("HAND", n), (-1, 1.5)),
    "seed of a training": (
        lambda n: train_ensemble(None, None, "absent", seed=n),
        (-1, 0.5, True, 2**32, None),
    ),
    "label": (lambda n: draw_study("HAND", 0, n), (2, -1, True)),
    "n_patients": (lambda n: synthesize("absent", n, 0), (1, 2.5, 10**9)),
    "valid_fraction": (lambda n: synthesize("absent", 4, 0, valid_fraction=n), (0, 1, float("inf"))),
    "n_classes": (lambda n: create_model("resnet18", n), (0, -1, 2.5, 10**12)),
    "in_channels": (lambda n: create_model("resnet18", 2, n), (0, "3")),
    "num_envs": (lambda n: EnsembleWeightingVectorEnv(TABLE, n), (0, -1, 2.0, 10**15)),
    "episode_length": (lambda n: EnsembleWeightingEnv(TABLE, episode_length=n), (0, True, 10**15)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_number_out_of_its_range_is_refused_by_name(name: str) -> None:
    call, numbers = CALLS[name]
    for number in numbers:
        with pytest.raises(
            UserError, match=rf"expected {name.split(maxsplit=1)[0]} .*in the range [\[(].*got "
        ):
            call(number)


@pytest.mark.parametrize("n_folds", [0, 1, 2.5, 10**9, True])
def test_folds_are_counted(n_folds: Any) -> None:
    with pytest.raises(UserError, match="expected 2 to 40 folds"):
        TABLE.folds(n_folds, seed=0)
