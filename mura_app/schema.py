"""What `config.json` and `training.json` hold, and how an edited document of a run is refused."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from agents.benchmark.schema import AgentName, Count, Document
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
    agents: list[AgentName] | None = None
    """Names of the weighting agents."""
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
    from agents.benchmark.document import Benchmark  # noqa: PLC0415 - imports all of the benchmark

    models: dict[str, type[Document]] = {
        "benchmark": Benchmark,
        "config": RunConfig,
        "training": TrainingRecord,
    }
    for name, model in models.items():
        write_json(folder / f"{name}.json", model.model_json_schema())


if __name__ == "__main__":
    write_schemas(Path("docs/schema"))
