"""What an ensemble knows of itself beside its networks and its agent, from a run or from a packed folder."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from agents.benchmark.schema import AgentName, Count, Document, Share
from agents.registry import BASELINE
from mura_app.run_directory import RunDirectory
from mura_app.schema import check_document
from mura_env.errors import UserError
from mura_env.utils.files import read_json

PACKED = "pack.json"
"""The document of a packed folder."""
FORMAT_VERSION = 1


class HitRate(Document):
    """How often the hottest point of heat maps lies in a box of an expert (the pointing game)."""

    name: str
    """Whose maps: a member's, or `ensemble`, their sum weighted by the agent."""
    kind: str
    """Of which kind, see `base_models.networks.heat_map.MapKind`."""
    hits: list[Count]
    """Radiographs whose hottest point lies in a box, by margin."""
    random_hits: list[Count] | None
    """The same for a network with random weights."""


class HitRates(Document):
    """The pointing game on the test radiographs with boxes."""

    n_images: Count
    """Radiographs with a box."""
    margins: list[Share]
    """By how much boxes are widened on each side, in shares of the radiograph's longer side."""
    chance: list[Share]
    """Chance of a point anywhere in the region shown to networks, by margin."""
    median_box: Share
    """Median of the boxes' share of the radiograph."""
    maps: list[HitRate]


class UnlikeRate(Document):
    """How often test studies are marked as unlike the training images: false alarms."""

    n_studies: Count
    n_marked: Count


class Measured(Document):
    """What `explanations.json` of a run holds: how far heat maps and the check of unlike images are right."""

    hit_rates: HitRates | None
    """Null where the data set has no boxes."""
    unlike: UnlikeRate | None
    """Null where no network has an embedding."""


class EnsembleFacts(Document):
    """What `Ensemble` holds beside members and agent."""

    class_names: Annotated[list[str], Field(min_length=2)]
    body_part_names: Annotated[list[str], Field(min_length=1)]
    """The body parts that the agent has learned from."""
    agent: AgentName
    """Name of the weighting agent."""
    seed: Count
    """The fit of it."""
    threshold: Share | None
    """Youden's, out of fold; null with more than two classes."""
    uniform_threshold: Share | None
    """The same, of uniform averaging."""
    measured: Measured | None
    """Null where it has not been measured."""


class Pack(Document):
    """What `pack.json` holds."""

    format_version: int
    title: str
    """What was packed."""
    ensemble: EnsembleFacts
    preprocessing: dict[str, Any]
    """How a radiograph becomes the input."""
    notice: str
    data_licence: str
    """Under which terms the training data may be used."""
    sha256: dict[str, str]
    """Every other file in the folder → its digest."""


class _Mean(BaseModel):
    mean: float | None


class _Row(BaseModel):
    threshold: _Mean
    is_bound: bool
    is_weighting: bool = True


class _Scored(BaseModel):
    accuracy: _Mean


class _CrossValidated(BaseModel):
    agents: dict[str, _Scored] = {}


class _Benchmark(BaseModel):
    """The part of `benchmark.json` that is read here; reading all of it takes a second."""

    model_config = ConfigDict(extra="ignore")
    seeds: list[int]
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
    usable = {name: row for name, row in found.agents.items() if not row.is_bound}
    if agent is not None and agent not in usable:
        raise UserError(
            f"expected an agent of the run ({', '.join(usable)}), got {agent!r}; name one of these"
        )
    scores = {n: s.accuracy.mean or 0.0 for n, s in found.cross_validated.agents.items() if n in usable}
    chosen = agent or max(scores, key=lambda name: (scores[name], name == BASELINE), default=BASELINE)
    saved = read_json(run.path / "agents" / f"{chosen}-seed{found.seeds[0]}" / "agent.json", "a saved agent")
    measured = run.path / MEASURED
    return EnsembleFacts(
        class_names=saved["class_names"],
        body_part_names=saved["body_part_names"],
        agent=chosen,
        seed=found.seeds[0],
        threshold=usable[chosen].threshold.mean,
        uniform_threshold=found.agents[BASELINE].threshold.mean,
        measured=read_measured(measured) if measured.is_file() else None,
    )


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
