"""What an ensemble knows of itself beside its networks and its agent, from a run or from a packed folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from agents import Agent
from agents.benchmark.schema import AgentName, Count, Document
from agents.registry import BASELINE
from base_models.members import TrainedMember
from mura_app.run_directory import RunDirectory
from mura_app.schema import EnsembleFacts, Measured, check_document
from mura_env.cells import listed
from mura_env.errors import UserError
from mura_env.utils.files import read_json

PACKED = "pack.json"
"""The document of a packed folder."""
FORMAT_VERSION = 1


class _Part(Document):
    """A part of `benchmark.json`: reading all of it takes a second."""

    model_config = ConfigDict(extra="ignore")


class _Mean(_Part):
    mean: float | None


class _Row(_Part):
    threshold: _Mean
    is_bound: bool
    is_weighting: bool = True


class _Scored(_Part):
    accuracy: _Mean


class _CrossValidated(_Part):
    agents: dict[str, _Scored] = Field(default_factory=dict)


class _Benchmark(_Part):
    seeds: Annotated[list[Count], Field(min_length=1)]
    agents: dict[AgentName, _Row]
    cross_validated: _CrossValidated


def facts_of_run(run: RunDirectory, agent: str | None) -> EnsembleFacts:
    """Choose an agent of a finished run, and collect what is known of it.

    Without a name, that is the agent of the highest cross-validated accuracy on the training studies; uniform
    averaging wins ties, and the test studies have no say.

    Raises:
        UserError: If the run has no such agent, or its documents are damaged.
    """
    path = run.benchmark_path
    document = read_json(path, "a finished run with benchmark.json in it, or a packed folder")
    check_document(
        document, path, _Benchmark, "a finished benchmark of this version", "run its command again"
    )
    found = _Benchmark.model_validate(document)
    if BASELINE not in found.agents:
        raise UserError(f"expected the agent {BASELINE!r} in {path}, got none; run its command again")
    usable = {name: row for name, row in found.agents.items() if not row.is_bound}
    if agent is not None and agent not in usable:
        raise UserError(
            f"expected an agent of the run ({', '.join(usable)}), got {agent!r}; name one of these"
        )
    scores = {n: s.accuracy.mean or 0.0 for n, s in found.cross_validated.agents.items() if n in usable}
    chosen = agent or max(scores, key=lambda name: (scores[name], name == BASELINE), default=BASELINE)
    saved = read_json(run.path / "agents" / f"{chosen}-seed{found.seeds[0]}" / "agent.json", "a saved agent")
    measured = run.path / MEASURED
    facts = {
        "class_names": saved.get("class_names"),
        "body_part_names": saved.get("body_part_names"),
        "agent": chosen,
        "seed": found.seeds[0],
        "threshold": usable[chosen].threshold.mean,
        "uniform_threshold": found.agents[BASELINE].threshold.mean,
        "measured": read_measured(measured) if measured.is_file() else None,
    }
    check_document(facts, run.path, EnsembleFacts, "a finished run", "run its command again")
    return EnsembleFacts.model_validate(facts)


MEASURED = "explanations.json"
"""The document of a run that `mura_app.inference.measure` writes."""
REFERENCE = "reference.safetensors"
"""What training images look like to the run, by which unlike ones are noticed."""


def read_measured(path: Path) -> Measured:
    """Read `explanations.json`; a damaged or edited one is refused."""
    document = read_json(path, "what was measured of a run's explanations")
    check_document(
        document, path, Measured, "what was measured of a run", "write it again with `mura report`"
    )
    return Measured.model_validate_json(json.dumps(document))


def agent_folder(folder: Path, facts: EnsembleFacts) -> Path:
    """Return the folder of the agent in a run or a packed folder."""
    return folder / "agents" / f"{facts.agent}-seed{facts.seed}"


def require_agreement(
    path: Path, members: Sequence[TrainedMember], agent: Agent[Any], facts: EnsembleFacts
) -> None:
    """Refuse a folder put together of several, whose probabilities would get others' names."""
    names = [[member.config.name for member in members]] if members else []
    for what, of_agent, of_others in (
        ("classes", agent.class_names_, [facts.class_names, *(each.class_names for each in members)]),
        ("body parts", agent.body_part_names_, [facts.body_part_names]),
        ("members", agent.model_names_, names),
    ):
        for other in of_others:
            if tuple(other) != tuple(of_agent):
                raise UserError(
                    f"expected members, agent and documents of the same {what} in {path}, got "
                    f"{listed(of_agent)} and {listed(list(other))}; copy the folder whole, or pack it again"
                )


def require_network(path: Path, members: Sequence[TrainedMember], member: int, fold: int) -> None:
    """Refuse a file about what a network sees that the run does not have; member -1 stands for no network."""
    networks = members[max(member, 0)].networks if -1 <= member < len(members) else ()
    if not 0 <= fold < len(networks):
        raise UserError(
            f"expected images as a network of the run sees them in {path}, got those of another; write it "
            "again with `mura report`"
        )
