"""What the JSON documents of a run and of a packed folder hold, and how an edited one is refused."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError, model_validator

from agents.benchmark.schema import AgentName, Count, Document, Share
from mura_app.prediction import PREDICTION
from mura_env.errors import UserError
from mura_env.utils.files import read_json, write_json
from mura_env.utils.text import misfit


class RunConfig(Document):
    """What `config.json` holds: every setting needed to repeat a run. A command writes those that it has."""

    format_version: int
    """Version of the run directory's layout."""
    versions: dict[str, str]
    """Package → version, of all that may change a figure."""
    data: str | None = None
    """Folder of the radiographs."""
    ensemble: dict[str, Any] | None = None
    """The base models and how they are trained, see `base_models.config.EnsembleConfig`."""
    positive: str | None = None
    """The positive class, where the user has said which."""
    seed: Count | None = None
    """Seed of the data split, the folds and the networks."""
    train: str | None = None
    """Predictions table that agents learn from, of a benchmark of tables."""
    test: str | None = None
    """Predictions table that is scored, of a benchmark of tables."""
    predictions: str | None = None
    """Predictions table that is divided into both, of a benchmark of one table."""
    test_share: float | None = None
    """Share of its studies that is scored."""
    test_images: str | None = None
    """Predictions table of the test studies' radiographs, of a benchmark of tables."""
    task: Literal["consult"] | None = None
    """What the agents do, where it is not weighting."""
    prices: list[float] | None = None
    """Prices that agents of consultation are tuned for and scored at."""
    agents: list[AgentName] | None = None
    """Names of the agents."""
    agent_options: dict[AgentName, dict[str, Any]] | None = None
    """By agent, those of its options that were given; the others are the defaults."""
    targets: list[str] | None = None
    """Rewards that agents are trained for, and scored by, beside accuracy."""
    agent_seeds: Count | None = None
    """Number of seeds of each agent."""
    cross_validation_seeds: Count | None = None
    """Number of seeds that agents are cross-validated with."""
    repeats: Count | None = None
    """Number of trainings of the base models."""
    training_seed: Count | None = None
    """Seed of a repeated training."""
    evaluated_run: str | None = None
    """The run that an external validation is of."""
    outside: str | None = None
    """Outside data, of an external validation."""
    body_part_map: dict[str, str] | None = None
    """Outside body part → the run's, of an external validation."""
    skipped_images: dict[str, str] | None = None
    """Image that was left out → why, of an external validation."""


class _Part(Document):
    """A part of `training.json`, which `base_models` writes; it holds more than is read here."""

    model_config = ConfigDict(extra="allow")


class DatasetFacts(_Part):
    """The data set of a training."""

    name: str
    remarks: list[str]


class SplitCounts(_Part):
    """How large a split is."""

    studies: Count
    images: Count
    patients: Count
    classes: dict[str, Count]


class TrainedMember(_Part):
    """A member of the ensemble."""

    name: str
    network: str
    image_size: Count
    epochs: Count
    options: dict[str, Any]


class TrainedEnsemble(_Part):
    """The settings of the ensemble, see `base_models.config.EnsembleConfig`."""

    members: Annotated[list[TrainedMember], Field(min_length=1)]
    folds: Count
    training: dict[str, Any] | None = None
    """How each network is trained."""


class TrainingRecord(_Part):
    """What `training.json` holds: the record of the base models' training."""

    dataset: DatasetFacts
    counts: dict[str, SplitCounts]
    """By split."""
    config: TrainedEnsemble
    skipped_images: dict[str, Any]
    """Image that could not be read → why."""
    misnamed_images: dict[str, Any] | None = None
    """Image whose name belies its content → what it is."""
    odd_images: dict[str, Any] | None = None
    """Image that contradicts itself or looks unlike the others → how."""
    unlisted_files: list[str] | None = None
    """Files that belong to no study."""
    skipped_studies: list[str] | None = None
    """Studies that were left out with their images."""
    dropped_members: dict[str, Any] | list[str] | None = None
    """Members that were too weak to be kept."""
    shared_images: list[list[str]] | None = None
    """Images that stand in studies of several patients, copies together."""


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

    @model_validator(mode="after")
    def _agrees(self) -> "HitRates":
        n = len(self.margins)
        hits = [each for of in self.maps for each in (of.hits, of.random_hits) if each is not None]
        fits = all(len(each) == n and max(each) <= self.n_images for each in hits if n)
        if not (n and hits and fits and self.n_images and len(self.chance) == n):
            raise ValueError(
                f"with hits that do not fit {self.n_images} radiographs and {n} margins in hit_rates"
            )
        return self


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


def read_document(path: Path, model: type[Document], expected: str, advice: str) -> dict[str, Any]:
    """Read a JSON document of a model; `expected` and `advice` begin and end the message where it is another.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no JSON object, or a field is missing, unknown or of another type or range;
            names the outermost such field.
    """
    document = read_json(path, expected)
    check_document(document, path, model, expected, advice)
    return document


def check_document(
    document: dict[str, Any], path: Path, model: type[Document], expected: str, advice: str
) -> None:
    """Refuse a document that is not of a model; arguments and errors as in `read_document`."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        raise UserError(f"expected {expected}, got {path} {misfit(error.errors())}; {advice}") from error


def write_schemas(folder: Path) -> None:
    """Write the JSON schema of each document into a folder."""
    from agents.benchmark.consultation_document import ConsultationBenchmark  # noqa: PLC0415
    from agents.benchmark.document import Benchmark  # noqa: PLC0415 - imports all of the benchmark

    models: dict[str, type[Document]] = {
        "benchmark": Benchmark,
        "consultation": ConsultationBenchmark,
        "config": RunConfig,
        "training": TrainingRecord,
        "explanations": Measured,
        "pack": Pack,
    }
    for name, model in models.items():
        write_json(folder / f"{name}.json", model.model_json_schema())
    write_json(folder / "prediction.json", PREDICTION.json_schema())


if __name__ == "__main__":
    write_schemas(Path("docs/schema"))
