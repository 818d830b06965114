"""The whole pipeline in the order in which data flows: radiographs → predictions → policies → report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from agents import make_agent
from agents.benchmark import run_benchmark
from agents.benchmark.calibration_shift import single_folds_summary
from base_models.config import EnsembleConfig, ensemble_document
from base_models.data.leakage import doubtful_weights
from base_models.datasets import Dataset, open_dataset
from base_models.distributed import join_process_group, launched_group
from base_models.ensemble import train_ensemble
from base_models.preflight import check_training
from mura_app.artifacts import METADATA_CONTROL, write_benchmark, write_model_card
from mura_app.inference.measure import measure
from mura_app.repeats import with_repeats
from mura_app.run_directory import GROWING, RunDirectory
from mura_env import Predictions
from mura_env.errors import UserError
from mura_env.rewards import make_reward
from mura_env.utils.options import Range, Seed, check_options
from mura_env.utils.progress import Progress


@dataclass(frozen=True)
class PipelineConfig:
    """Every choice of a run beside its data."""

    ensemble: EnsembleConfig
    """The base models and how they are trained."""

    seed: Seed
    """Seed of the data split, the folds and the base models."""

    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The weighting agents to compare with uniform averaging: options that are not the defaults, by name."""

    agent_seeds: Annotated[int, Range("[0, 1000]")] = 0
    """Number of seeds, 0 to n − 1, that each agent is trained with."""

    cross_validation_seeds: Annotated[int, Range("[0, 1000]")] = 1
    """Number of seeds that agents are cross-validated with on the training table; none with 0."""

    repeats: Annotated[int, Range("[1, 1000]")] = 1
    """Trainings of the base models with different seeds, the run's own among them; see `mura_app.repeats`."""

    positive: str | None = None
    """The positive one of two classes, where their names do not tell."""

    targets: Sequence[str] = ()
    """Rewards that agents are trained for, and scored by, beside accuracy."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.agents and not self.agent_seeds:
            raise UserError("expected at least one agent seed for the agents, got none; set agent_seeds")

    def settings(self, data: Path) -> dict[str, Any]:
        """Return the settings that `config.json` keeps for a run on the data at this path, JSON-ready."""
        return {
            "data": str(data.resolve()),
            **({"positive": self.positive} if self.positive is not None else {}),
            "ensemble": ensemble_document(self.ensemble),
            "seed": self.seed,
            **agent_settings(self.agents, self.agent_seeds, self.cross_validation_seeds, self.targets),
            "repeats": self.repeats,
        }


def agent_settings(
    agents: Mapping[str, Mapping[str, Any]],
    agent_seeds: int,
    cross_validation_seeds: int,
    targets: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the settings of a benchmark that `config.json` keeps; refuse what cannot be."""
    for name, options in agents.items():
        make_agent(name, **options)
    for target in targets:
        make_reward(target)
    return {
        "agents": list(agents),
        "agent_options": {name: dict(options) for name, options in agents.items() if options},
        "agent_seeds": agent_seeds,
        "cross_validation_seeds": cross_validation_seeds,
        **({"targets": list(targets)} if targets else {}),
    }


def train_base_models(  # one argument a choice of the command line
    data: Path,
    run: RunDirectory,
    config: PipelineConfig,
    *,
    skip_bad_images: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[Dataset, Predictions, Predictions]:
    """Radiographs → predictions: open the data set, claim the run directory, train and cross-fit.

    The data set is opened and every choice checked first, so that a wrong one leaves the run directory alone.
    What a user should know of the data and of pretrained weights is reported with `tell` before the long work
    begins. Of the processes that torchrun started the first claims the directory and tells; what one of them
    refuses, all raise.

    Returns:
        The data set, the out-of-fold table to learn a weighting from, and the test table.
    """
    with join_process_group() as group:
        with group.synchronized():
            settings = config.settings(data)
            dataset = open_dataset(data, seed=config.seed, positive=config.positive)
            check_training(dataset, config.ensemble, seed=config.seed, resume=resume)
        with group.synchronized():
            if group.is_global_zero:
                sources = _sources(dataset, config.ensemble)
                run.claim(settings, sources=sources, overwrite=overwrite, resume=resume)
        if group.is_global_zero and tell is not None:
            for remark in (*dataset.remarks, *doubtful_weights(config.ensemble.members)):
                tell(remark)
        train, test = train_ensemble(
            dataset,
            config.ensemble,
            run.path,
            seed=config.seed,
            skip_bad_images=skip_bad_images,
            resume=resume,
            progress=progress,
            tell=tell,
        )
    return dataset, train, test


def _sources(dataset: Dataset, config: EnsembleConfig) -> Iterator[str | Path]:
    """List what a training reads: radiographs, pretrained weights, the run that found hard examples."""
    yield dataset.root
    yield from filter(None, [config.hard_examples, *(member.init_weights for member in config.members)])
    for study in dataset.studies:
        yield from study.image_paths


def benchmark_agents(
    run: RunDirectory,
    train: Predictions,
    test: Predictions,
    settings: Mapping[str, Any],
    *,
    title: str,
    dataset: Dataset | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Predictions → policies → report: fit, score, write `benchmark.json` and what shows it.

    Args:
        run: Where the agents, the figures and the page are written.
        train: Table that the agents learn from, with out-of-fold logits.
        test: Table that is only scored.
        settings: The agents and their seeds, see `agent_settings`.
        title: What the report is about.
        dataset: Where the radiographs lie, if they are there.
        **options: Further ones of `agents.benchmark.run_benchmark`.

    Returns:
        The document of `benchmark.json`.
    """
    figures = run_benchmark(
        train,
        test,
        agents={name: settings["agent_options"].get(name, {}) for name in settings["agents"]},
        seeds=list(range(settings["agent_seeds"])),
        directory=run.path,
        n_cross_validated=settings["cross_validation_seeds"],
        targets=settings.get("targets") or (),
        **options,
    )
    single_folds = run.predictions / "test-folds.npz"
    if single_folds.is_file():  # how calibrated members are before their outputs are averaged over folds
        calibration = figures["behaviour"]["calibration"]
        calibration["test, single folds"] = single_folds_summary(Predictions.load(single_folds))
    return write_benchmark(run, figures, title=title, dataset=dataset)


def run_pipeline(
    data: Path,
    run: RunDirectory,
    config: PipelineConfig,
    *,
    title: str | None = None,
    skip_bad_images: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the whole pipeline on one data set and return the document of `benchmark.json`.

    Arguments as in `train_base_models`; `title` heads the report, by default the data set's name.
    """
    if launched_group().world_size > 1:
        raise UserError(
            "expected this command without torchrun, for agents are fitted on one machine; start `mura "
            "train` with torchrun, then this command with the same --out and --resume"
        )
    options: dict[str, Any] = {"skip_bad_images": skip_bad_images, "progress": progress}
    dataset, *tables = train_base_models(
        data, run, config, overwrite=overwrite, resume=resume, tell=tell, **options
    )
    settings = run.read_config()  # a run that is resumed keeps the agents and seeds that it has
    kept = {name: settings[name] for name in GROWING if name in settings}
    heading = title or dataset.name

    def benchmark(of: RunDirectory, tables: Sequence[Predictions], **others: Any) -> dict[str, Any]:
        """Benchmark the agents on what base models have written into a run directory."""
        of_train, of_test = (
            Predictions.load(of.predictions / f"metadata-{split}.npz").probabilities[:, 0]
            for split in ("train", "test")
        )
        return benchmark_agents(
            of,
            train=tables[0],
            test=tables[1],
            dataset=dataset,
            controls={METADATA_CONTROL: of_test},
            train_controls={METADATA_CONTROL: of_train},
            test_images=Predictions.load(of.predictions / "test-images.npz"),
            progress=progress,
            **others,
        )

    def train_and_benchmark(number: int, seed: int) -> dict[str, Any]:
        repeat = RunDirectory(run.path / "repeats" / str(number))
        repeat.claim({**config.settings(data), **kept, "repeats": 1, "training_seed": seed}, resume=True)
        tables = train_ensemble(
            dataset,
            config.ensemble,
            repeat.path,
            seed=seed,
            resume=True,
            cache_dir=run.path / "image_cache",
            **options,
        )
        own = {**kept, "cross_validation_seeds": 0, "targets": []}
        return benchmark(repeat, tables, settings=own, title=f"{heading}, training {number}", resume=True)

    document = benchmark(run, tables, settings=kept, title=heading, resume=resume)
    measure(run, dataset, progress)
    write_model_card(run, document)
    if kept["repeats"] > 1:
        seeds = [config.seed + number for number in range(kept["repeats"])]
        others = [train_and_benchmark(number, seed) for number, seed in enumerate(seeds[1:], start=2)]
        repeated = with_repeats(document, others, seeds)
        document = write_benchmark(run, repeated, title=heading, dataset=dataset)
    return document
