"""Other targets than accuracy: agents trained for a reward, and controls fitted to the same reward.

A reward such as `balanced` or `cost_sensitive` moves the best threshold, whoever weights the members. An
agent's gain is its weighting's only if controls may choose their threshold for the same reward. All choices
are made on the training table: out of fold for the members, cross-validated for the agents.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.benchmark.cross_validation import cross_validate
from agents.benchmark.fits import Fit, Options, run_fits, seeds_of
from agents.benchmark.schema import Count, Document, Ends, Figure, Number, Share
from agents.benchmark.seed_summaries import spread
from agents.registry import class_of, make_agent
from agents.statistics.bootstrap import PatientBootstrap, interval
from mura_env import Decisions, Predictions
from mura_env.errors import UserError
from mura_env.rewards import depends_on_prediction_only, make_reward, reward_rule

N_DRAWS = 1_000
"""Weight vectors that the static control chooses among, beside the members alone and their average."""
REFERENCE = "static at its threshold"


class Difference(Document):
    """A paired difference of mean rewards."""

    mean: Number
    ci95: Ends | None
    """Bootstrapped, by patient."""


class TargetRow(Document):
    """An agent or control, scored by a reward."""

    reward: Figure
    """Mean reward of a test study."""
    accuracy: Share
    threshold: Number | None
    """On the probability of the positive class, the best for the reward on the training table; null where
    the most probable class is predicted."""
    vs_reference: Difference
    """Against static weights and a threshold chosen for the reward."""
    vs_uniform: Difference
    """Against uniform averaging at a threshold chosen for the reward."""


class Target(Document):
    """A reward that agents were trained for."""

    n_studies: Count
    reference: Annotated[str, Field(min_length=1)]
    rows: dict[str, TargetRow]


def check_targets(train: Predictions, test: Predictions, targets: Sequence[str]) -> None:
    """Refuse rewards that thresholds cannot be chosen for, before anything is fitted.

    Raises:
        UserError: If a reward does not exist, does not fit the tables, or depends on more than the predicted
            class; or if there are more than two classes.
    """
    for target in targets:
        reward = make_reward(target)
        if not depends_on_prediction_only(reward):
            raise UserError(
                f"expected targets that depend on the predicted class alone, got {target!r}; take balanced, "
                "cost_sensitive, hard_cases or musculoskeletal_costs"
            )
        if train.n_classes > 2:
            raise UserError(
                f"expected two classes for the target {target!r}, whose thresholds are on one probability, "
                f"got {train.n_classes}; leave --targets out"
            )
        for table in (train, test):
            reward_rule(reward, table)


def benchmark_targets(
    train: Predictions,
    test: Predictions,
    options: Options,
    targets: Sequence[str],
    *,
    seeds: Sequence[int],
    directory: Path | None,
    n_cross_validated: int,
    n_resamples: int,
    resume: bool,
    **workers: Any,
) -> dict[str, Any]:
    """Train each agent that learns from rewards for each target; return a `Target` by reward.

    Args:
        train: Studies to learn from, with out-of-fold predictions.
        test: Studies to score.
        options: Options by agent; those without an option `reward` are left out.
        targets: Names of rewards, see `check_targets`.
        seeds: Seeds of the fits.
        directory: Agents are saved below its `targets/<reward>`; nowhere if None.
        n_cross_validated: Seeds of the cross-validation that agents' thresholds are chosen with; without any,
            their most probable class is predicted.
        n_resamples: Resamples of the patient bootstrap.
        resume: Whether to read, and not fit again, saved agents.
        **workers: As of `agents.benchmark.fits.run_fits`.
    """
    bootstrap = PatientBootstrap.draw(test.labels, test.n_classes, test.patient_ids, n_resamples)
    documents = {}
    for target in targets:
        place = None if directory is None else directory / "targets" / target
        of_agents = {
            name: {**of_agent, "reward": target}
            for name, of_agent in options.items()
            if hasattr(class_of(name, of_agent).config_class, "reward")
        }
        fits = [
            Fit(name, of_agent, seed, place and place / "agents" / f"{name}-seed{seed}")
            for name, of_agent in of_agents.items()
            for seed in seeds_of(make_agent(name, **of_agent), seeds)
        ]
        weight = partial(_positive, train=train, test=test, resume=resume)
        fitted = {
            (fit.name, fit.seed): p for fit, p in run_fits(weight, fits, f"fitting for {target}", **workers)
        }
        held_out = cross_validate(
            train, of_agents, list(seeds)[:n_cross_validated], place, resume=resume, **workers
        ).probabilities
        learned = {
            name: (
                np.stack([fitted[fit.name, fit.seed] for fit in fits if fit.name == name]),
                None if name not in held_out else held_out[name].mean(axis=0)[:, 1],
            )
            for name in of_agents
        }
        documents[target] = target_document(train, test, target, learned, bootstrap)
    return documents


def _positive(fit: Fit, train: Predictions, test: Predictions, resume: bool) -> NDArray[np.float32]:
    """Return an agent's probabilities of the positive class in the test table, shape (n_studies,)."""
    return fit.agent(train, resume=resume).predict_proba(test)[:, 1]


def target_document(
    train: Predictions,
    test: Predictions,
    target: str,
    learned: Mapping[str, tuple[NDArray[Any], NDArray[Any] | None]],
    bootstrap: PatientBootstrap,
) -> dict[str, Any]:
    """Score agents and controls by a reward, see `Target`.

    Args:
        train: Where thresholds and static weights are chosen.
        test: Where they are scored.
        target: Name of the reward.
        learned: By agent, probabilities of the positive class: in the test table `(n_seeds, n_studies)`, and
            in the training table `(n_train,)`, of agents that did not learn from the study; None where
            those are not known.
        bootstrap: Resamples of the test studies.
    """
    gains = {name: rewards_by_class(target, table) for name, table in (("train", train), ("test", test))}
    best = partial(best_threshold, *gains["train"])
    ours, theirs = train.probabilities[:, :, 1], test.probabilities[:, :, 1]
    weights = static_weights(ours, best)
    static_threshold, uniform_threshold = best(ours @ weights)[0], best(ours.mean(axis=1))[0]
    predicted: dict[str, tuple[NDArray[np.bool_], float | None]] = {
        "uniform": (theirs.mean(axis=1)[None] > 0.5, None),  # ties to the first class
        "uniform at its threshold": (theirs.mean(axis=1)[None] >= uniform_threshold, uniform_threshold),
        REFERENCE: ((theirs @ weights)[None] >= static_threshold, static_threshold),
    }
    for name, (of_test, of_train) in learned.items():
        predicted[name] = of_test > 0.5, None
        if of_train is not None:
            threshold = best(of_train)[0]
            predicted[f"{name} at its threshold"] = of_test >= threshold, threshold
    rewards = {
        name: np.where(said, gains["test"][1], gains["test"][0]) for name, (said, _) in predicted.items()
    }
    against = {"vs_reference": REFERENCE, "vs_uniform": "uniform at its threshold"}
    return {
        "n_studies": len(test),
        "reference": REFERENCE,
        "rows": {
            name: {
                "reward": {
                    "mean": float(rewards[name].mean()),
                    "ci95": interval(bootstrap.mean(rewards[name].mean(axis=0))),
                    "seed_spread": float(spread(rewards[name].mean(axis=1))),
                },
                "accuracy": float((said == (test.labels == 1)).mean()),
                "threshold": threshold,
                **{
                    field: _difference(rewards[name], rewards[other], bootstrap)
                    for field, other in against.items()
                },
            }
            for name, (said, threshold) in predicted.items()
        },
    }


def _difference(ours: NDArray[Any], theirs: NDArray[Any], bootstrap: PatientBootstrap) -> dict[str, Any]:
    differences = ours.mean(axis=0) - theirs.mean(axis=0)
    return {"mean": float(differences.mean()), "ci95": interval(bootstrap.mean(differences))}


def rewards_by_class(target: str, table: Predictions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each study of a table would earn as negative, and as positive, each `(n_studies,)`."""
    rule, n = reward_rule(make_reward(target), table), len(table)

    def all_predicted(label: int) -> NDArray[np.float64]:
        predictions = np.full(n, label)
        scores = np.zeros((2, n), dtype=np.float32)
        scores[label] = 1
        weights = np.full((table.n_models, n), 1 / table.n_models, dtype=np.float32)
        decisions = Decisions(
            table,
            np.arange(n),
            weights,
            scores,
            False,
            predictions,
            table.labels,
            predictions == table.labels,
        )
        return np.array(rule(decisions), dtype=np.float64)

    return all_predicted(0), all_predicted(1)


def best_threshold(
    negative: NDArray[np.float64], positive: NDArray[np.float64], probabilities: NDArray[Any]
) -> tuple[float, float]:
    """Return the threshold of the largest mean reward, and that mean.

    Studies at or above it are positive; it lies in the middle between the probabilities of two studies, or
    at 0 or 1.1 where all are of one class. Of equal ones it is the highest.

    Args:
        negative: Reward of each study as negative, `(n_studies,)`.
        positive: Reward as positive.
        probabilities: Of the positive class.
    """
    order = np.argsort(-probabilities, kind="stable")
    sorted_ = probabilities[order].astype(np.float64)
    totals = negative.sum() + np.concatenate([[0.0], np.cumsum((positive - negative)[order])])
    cuts = np.concatenate([[1.1], (sorted_[:-1] + sorted_[1:]) / 2, [0.0]])
    divides = np.concatenate([[True], sorted_[:-1] > sorted_[1:], [True]])  # not between equal probabilities
    best = int(np.argmax(np.where(divides, totals, -np.inf)))
    return float(cuts[best]), float(totals[best] / len(order))


def static_weights(
    probabilities: NDArray[Any], best: Callable[[NDArray[Any]], tuple[float, float]]
) -> NDArray[np.float64]:
    """Return the weights whose average earns most at its best threshold, among many; shape (n_models,).

    Args:
        probabilities: Of the positive class in the training table, shape (n_studies, n_models).
        best: `best_threshold` with the rewards of those studies.
    """
    n_models = probabilities.shape[1]
    drawn = np.random.default_rng(0).dirichlet(np.ones(n_models), N_DRAWS)
    candidates = np.concatenate([np.full((1, n_models), 1 / n_models), np.eye(n_models), drawn])
    means = [best(probabilities @ weights)[1] for weights in candidates]
    return np.asarray(candidates[int(np.argmax(means))])
