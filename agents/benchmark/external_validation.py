"""Agents of a finished benchmark on studies from elsewhere: nothing is fitted again."""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.agent import UNSEEN_PARTS, Agent
from agents.benchmark.cross_validation import HeldOut
from agents.benchmark.document import benchmark_document
from agents.benchmark.fits import AgentResult
from agents.benchmark.image_level import check_images
from agents.registry import AGENTS, BASELINE, agent_class, load_agent, make_agent
from agents.storage import fingerprint
from mura_env import Predictions, matched_to
from mura_env.errors import UserError
from mura_env.utils.options import RESAMPLES
from mura_env.utils.plugins import NAME
from mura_env.utils.progress import Progress


def evaluate_saved_agents(
    directory: str | Path,
    train: Predictions,
    outside: Predictions,
    agents: Sequence[str],
    seeds: Sequence[int],
    *,
    thresholds: Mapping[str, float | None] | None = None,
    controls: Mapping[str, NDArray[Any]] | None = None,
    outside_images: Predictions | None = None,
    n_resamples: int = 10_000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score saved agents on an outside table with the tables of a benchmark.

    Body parts that the agents have not learned get the weights that are not particular to any; one warning
    names them.

    Args:
        directory: Folder that `agents.benchmark.run.run_benchmark` saved the agents in.
        train: What they learned from; the prior of the control `majority` comes from it.
        outside: Studies to score, with predictions of the same members.
        agents: Names of the agents; `uniform`, which all are compared with, is added if it is not among them.
        seeds: Seeds that they were fitted with.
        thresholds: Agents' thresholds on the probability of class 1, as the benchmark chose them.
        controls: Class probabilities for the outside table by name, shape `(n_studies, n_classes)`.
        outside_images: Members' outputs on each radiograph of the outside studies.
        n_resamples: Resamples of the patient bootstrap.
        progress: Called with a description, the agents completed and their number.

    Returns:
        A document as `agents.benchmark.document.Benchmark` describes it, JSON-ready.

    Raises:
        FileNotFoundError: If an agent is not saved there.
        ValueError: If the table does not fit or has studies of the training table, an agent learned from
            another table than `train`, or a file is damaged.
    """
    outside = matched_to(outside, train)
    if outside_images is not None:
        outside_images = matched_to(outside_images, train)
    _check(train, outside, outside_images)
    RESAMPLES.check("n_resamples", n_resamples, int)
    _warn_of_unknown_parts(train, outside)
    names = [*agents] if BASELINE in agents else [BASELINE, *agents]
    return benchmark_document(
        train,
        outside,
        saved_results(directory, train, outside, names, seeds, progress=progress),
        list(seeds),
        controls=controls or {},
        n_resamples=n_resamples,
        held_out=HeldOut(reason="nothing was fitted for this evaluation"),
        thresholds=thresholds,
        images=outside_images,
    )


def saved_results(
    directory: str | Path,
    train: Predictions,
    table: Predictions,
    agents: Sequence[str],
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
) -> dict[str, AgentResult]:
    """Let saved fits of agents weight a table of the same members; arguments as in `evaluate_saved_agents`.

    Returns:
        By agent, its weights and class probabilities, seed by seed.
    """
    results = {}
    with warnings.catch_warnings():
        # each agent would say it again, seed by seed
        warnings.filterwarnings("ignore", message=UNSEEN_PARTS)
        for done, name in enumerate(agents, start=1):
            results[name] = _result(Path(directory) / "agents", name, seeds, train, table)
            if progress is not None:
                progress("scoring agents", done, len(agents))
    return results


def _warn_of_unknown_parts(train: Predictions, outside: Predictions) -> None:
    unknown = sorted(
        {outside.body_part_names[part] for part in outside.body_parts} - {*train.body_part_names}
    )
    if unknown:
        warnings.warn(
            f"the body parts {', '.join(unknown)} were not in the training table; they get the reference "
            "weights, which are not particular to any part",
            UserWarning,
            stacklevel=3,
        )


def _result(
    directory: Path, name: str, seeds: Sequence[int], train: Predictions, outside: Predictions
) -> AgentResult:
    """Let the saved fits of one agent weight the outside table; one fit where seeds change nothing."""
    results = []
    for seed in seeds:
        if name == BASELINE:  # it learns nothing, and a run may have been made without it
            agent = make_agent(BASELINE).fit(train, seed=seed)
        else:
            wanted = _class_if_any(name)
            folder = directory / f"{name}-seed{seed}"
            agent = load_agent(folder)
            if not isinstance(agent, wanted) or agent.seed_ != seed:
                raise UserError(
                    f"expected the agent {name!r} of the seed {seed} in {folder}, got {agent.name!r} of the "
                    f"seed {agent.seed_}; run the benchmark again"
                )
            if agent.fingerprint_ != fingerprint(train):
                raise UserError(
                    f"expected an agent that learned from the run's training table in {folder}, got one "
                    "that learned from another table; run the benchmark again"
                )
        agent.name = name
        results.append(AgentResult.of(agent, outside))
        if not agent.uses_seed:
            break
    return AgentResult.over_seeds(results)


def _class_if_any(name: str) -> type[Any]:
    """Return the class of a name of the registry, any agent's of a variant's; refuse what is no name."""
    if name in AGENTS or not re.fullmatch(NAME, name):  # it becomes a path
        return agent_class(name)
    return Agent


def check_classes(labels: Iterable[int]) -> None:
    """Refuse outside studies of one class, of which no agreement, AUROC or specificity can be told."""
    if len(set(labels)) < 2:
        raise UserError(
            "expected outside studies of at least two classes, got fewer; add studies of another class"
        )


def _check(train: Predictions, outside: Predictions, outside_images: Predictions | None) -> None:
    outside.require_labels()
    check_classes(outside.labels)
    rows = {str(study): row for row, study in enumerate(train.study_ids)}
    copied = [
        str(study)
        for row, study in enumerate(outside.study_ids)
        if str(study) in rows and np.array_equal(outside.logits[row], train.logits[rows[str(study)]])
    ]
    if copied:
        raise UserError(
            f"expected studies from elsewhere, got {len(copied)} of the training table, among them "
            f"{copied[0]!r}; an agent cannot be validated on what it learned from"
        )
    if outside_images is not None:
        check_images(outside, outside_images)
