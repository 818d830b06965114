"""Trained members on disk: `members/<name>/fold<k>.safetensors` and `members/<name>/member.json`."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import nn

from base_models.calibration import Calibration
from base_models.config import MAX_IMAGE_SIZE, MemberConfig, ViewAggregation, check_member_name
from base_models.imaging.decoding import SquareFormat
from base_models.networks.input_format import GREY, InputFormat
from base_models.networks.pretrained import (
    colour_format,
    fitted_state,
    learned_format,
    pretrained_state_dict,
    read_state_dict,
)
from base_models.networks.registry import NETWORKS, create_model, fresh_format
from base_models.storage import load_tensors
from mura_env.errors import UserError, UserFileNotFoundError
from mura_env.utils.files import read_json, write_json
from mura_env.utils.text import misfit

Size = Annotated[int, Field(ge=1, le=MAX_IMAGE_SIZE)]
Saved = TypeVar("Saved", bound="SavedDocument")


class SavedDocument(BaseModel):
    """A JSON document of the folder `members`; it may hold more than is read here."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class SavedIndex(SavedDocument):
    """What `members.json` holds."""

    members: Annotated[list[str], Field(min_length=1)]
    """Names of the members in the order of the run's tables."""


class SavedMember(SavedDocument):
    """What `member.json` holds; the fields are those of `TrainedMember`."""

    config: MemberConfig
    class_names: Annotated[list[str], Field(min_length=2)]
    folds: Annotated[int, Field(ge=1)]
    cache_size: Size
    crop: bool
    input_format: InputFormat
    view_aggregation: ViewAggregation
    tta_flip: bool
    calibration: Calibration
    fold_calibrations: list[Calibration]

    @model_validator(mode="after")
    def _fits_its_classes(self) -> Self:
        """Refuse calibrations of other classes, or of more or fewer folds."""
        n_classes = len(self.class_names)
        for calibration in (self.calibration, *self.fold_calibrations):
            biases = (calibration.bias, *calibration.part_biases.values())
            if calibration.temperature <= 0 or any(len(bias) != n_classes for bias in biases):
                raise ValueError(f"with a calibration that is none of {n_classes} classes")
        if len(self.fold_calibrations) != self.folds:
            raise ValueError(f"with {len(self.fold_calibrations)} fold_calibrations for {self.folds} folds")
        return self


@dataclass(frozen=True)
class TrainedMember:
    """A member of a finished run."""

    config: MemberConfig
    """Its network, image size, initial weights and training."""
    networks: tuple[nn.Module, ...]
    """Its networks, one per fold, in evaluation mode."""
    calibration: Calibration
    """Fitted on all out-of-fold logits: for studies outside the training table."""
    fold_calibrations: tuple[Calibration, ...]
    """What calibrated each fold's rows of the training table, fitted on the other folds."""
    class_names: tuple[str, ...]
    """Names of the classes."""
    cache_size: int
    """Side of the square, in pixels, that radiographs are fitted into before they are scaled to the input."""
    input_format: InputFormat = GREY
    """What its networks take a radiograph as."""
    crop: bool = False
    """Whether radiographs are cropped to the patient first."""
    view_aggregation: str = "mean"
    """How the views of a study are aggregated, a name in `base_models.prediction.VIEW_RULES`."""
    tta_flip: bool = False
    """Whether it averages over each view and its mirror image."""

    @property
    def square_format(self) -> SquareFormat:
        """The squares that its networks' inputs are made of."""
        return SquareFormat(self.cache_size, self.input_format.aspect, self.crop)


def weights_path(run_dir: Path, member: str, fold: int) -> Path:
    """Return the file of the weights that were trained without one fold."""
    return run_dir / "members" / member / f"fold{fold}.safetensors"


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Load weights into a network and put it in evaluation mode."""
    tensors, _ = load_tensors(path)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(
            f"expected this member's weights in {path}, got another network's: {error}"
        ) from error
    return network.eval()


def save_member(run_dir: Path, member: TrainedMember, facts: dict[str, Any]) -> None:
    """Write a member's `member.json`; its weights have been written fit by fit."""
    document = {
        "config": asdict(member.config),
        "class_names": list(member.class_names),
        "in_channels": member.input_format.in_channels,
        "folds": len(member.fold_calibrations),
        "cache_size": member.cache_size,
        "crop": member.crop,
        "input_format": asdict(member.input_format),
        "view_aggregation": member.view_aggregation,
        "tta_flip": member.tta_flip,
        "calibration": asdict(member.calibration),
        "fold_calibrations": [asdict(calibration) for calibration in member.fold_calibrations],
        **facts,
    }
    write_json(run_dir / "members" / member.config.name / "member.json", document)


def load_trained_members(run_dir: str | Path) -> list[TrainedMember]:
    """Load the members of a finished run, in the order of its tables.

    Raises:
        UserFileNotFoundError: If the folder holds no finished members.
        UserError: If a file is damaged or was written by something else.
    """
    members = describe_trained_members(run_dir)
    return [replace(member, networks=load_networks(run_dir, member)) for member in members]


def describe_trained_members(run_dir: str | Path) -> list[TrainedMember]:
    """Load all that is known of the members of a finished run but their networks; see `load_networks`.

    Raises:
        UserFileNotFoundError: If the folder holds no finished members.
        UserError: If a file is damaged or was written by something else.
    """
    run_dir = Path(run_dir)
    index = _index_path(run_dir)
    if not index.is_file():
        raise UserFileNotFoundError(
            f"expected the members of a finished run in {run_dir}, but there is no {index}"
        )
    names = _read_saved(index, SavedIndex, "the list of a run's members").members
    for name in names:
        check_member_name(name)  # before it becomes a path
    return [_describe_member(run_dir, name) for name in names]


def load_networks(run_dir: str | Path, member: TrainedMember) -> tuple[nn.Module, ...]:
    """Load the networks of a member, one per fold, in evaluation mode.

    Raises:
        UserError: If a file is damaged or holds another network's weights.
    """
    config, n_classes = member.config, len(member.class_names)
    return tuple(
        load_weights(
            new_network(config, n_classes, member.input_format.in_channels),
            weights_path(Path(run_dir), config.name, fold),
        )
        for fold in range(len(member.fold_calibrations))
    )


def load_members(run_dir: str | Path) -> list[nn.Module]:
    """Load the trained networks of a run in evaluation mode: member by member, each fold by fold.

    Raises:
        UserFileNotFoundError: If the folder holds no finished members.
        UserError: If a file is damaged or was written by something else.
    """
    return [network for member in load_trained_members(run_dir) for network in member.networks]


def save_index(run_dir: Path, names: Sequence[str]) -> None:
    """Write the order of the members; its presence says that all of them are finished."""
    write_json(_index_path(run_dir), {"members": list(names)})


def remove_index(run_dir: Path) -> None:
    """Say that the members are not finished, before they are replaced."""
    _index_path(run_dir).unlink(missing_ok=True)


def _index_path(run_dir: Path) -> Path:
    return run_dir / "members" / "members.json"


def _describe_member(run_dir: Path, name: str) -> TrainedMember:
    folder = run_dir / "members" / name
    saved = _read_saved(folder / "member.json", SavedMember, "a member of this package")
    if saved.config.name != name:
        raise UserError(f"expected the member {name!r} in {folder}, got {saved.config.name!r}")
    return TrainedMember(
        saved.config,
        (),
        saved.calibration,
        tuple(saved.fold_calibrations),
        tuple(saved.class_names),
        saved.cache_size,
        saved.input_format,
        saved.crop,
        saved.view_aggregation,
        saved.tta_flip,
    )


def _read_saved(path: Path, model: type[Saved], expected: str) -> Saved:
    """Read a document of the folder `members`, and name the field of a damaged or foreign one."""
    document = read_json(path, expected)
    try:
        # from JSON: only there are lists strictly tuples, and objects dataclasses
        return model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        raise UserError(f"expected {expected}, got {path} {misfit(error.errors())}") from error


def new_network(config: MemberConfig, n_classes: int, in_channels: int | None = None) -> nn.Module:
    """Create a member's network with fresh weights, by default for as many planes as its training has."""
    if in_channels is None:
        in_channels = fresh_format(config.network).in_channels
    return create_model(config.network, n_classes, in_channels, **config.options)


def meta_network(config: MemberConfig, n_classes: int) -> nn.Module:
    """Return a member's network on torch's meta device, where tensors have shapes but no values.

    Members alike share one: fits and checks ask for it again and again, and none changes it.
    """
    registered = config.network in NETWORKS and NETWORKS[config.network]
    options = json.dumps(dict(config.options), sort_keys=True)
    return _meta_network(registered, config.network, options, n_classes)


@lru_cache(maxsize=64)
def _meta_network(_registered: object, name: str, options: str, n_classes: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # some constructors do not work on the meta device
        return new_network(MemberConfig("any", name, options=json.loads(options)), n_classes).to("meta")


def forward_flops(network: nn.Module, config: MemberConfig) -> int:
    """Return the floating-point operations of a network from `meta_network` on one image."""
    size, planes = config.image_size, fresh_format(config.network).in_channels
    try:
        return _count_flops(network, size, planes)
    except (RuntimeError, AssertionError, ValueError) as error:  # each library refuses in its own way
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"expected an image size that the network {config.network!r} takes, got {size} ({reason}); try "
            "224, or let a network of torchvision enlarge the images with its option least_size"
        ) from error


@lru_cache(maxsize=64)
def _count_flops(network: nn.Module, size: int, planes: int) -> int:
    from torch.utils.flop_counter import FlopCounterMode  # noqa: PLC0415 - imports a compiler

    with FlopCounterMode(display=False) as counter:
        network(torch.empty(2, planes, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def training_format(config: MemberConfig) -> InputFormat:
    """Return what a member's network takes a radiograph as, in training and prediction.

    Pretrained weights keep the normalisation that they were trained with.
    """
    own = fresh_format(config.network)
    if not config.is_pretrained:
        return own
    with torch.random.fork_rng(devices=[]):
        network = new_network(config, 2)
    learned = learned_format(network, config.init_weights) if config.init_weights else colour_format(network)
    if learned.in_channels == own.in_channels:
        return learned
    return learned.one_plane if own.in_channels == 1 else own  # a stem is fitted to one plane


def seeded_network(config: MemberConfig, n_classes: int, seed: int) -> nn.Module:
    """Create a member's network with initial weights that are a function of the seed only.

    Of a pretrained network only the head is drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU, too
        network = new_network(config, n_classes)
    if config.init_weights:
        state = fitted_state(network, read_state_dict(config.init_weights), config.init_weights)
        network.load_state_dict(state, strict=False)
    elif config.pretrained:
        state = fitted_state(network, pretrained_state_dict(network), "its published weights")
        network.load_state_dict(state, strict=False)
    return network
