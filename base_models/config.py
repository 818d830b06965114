"""Every choice in the training of an ensemble, as frozen dataclasses: also the command line's options."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from mura_env.errors import UserError

AugmentationName = Literal["rlensemble_v1", "moderate", "standard", "flips", "none"]
ScheduleName = Literal["one_cycle", "cosine", "constant"]
LossName = Literal["cross_entropy", "class_weighted_bce", "focal", "label_smoothing"]
Spread = Literal["fits", "batches"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
ViewRule = Literal["mean", "maximum", "noisy_or"]

_DOCUMENT = {"extra": "forbid"}  # for pydantic: a document with a field that does not exist is refused

LARGEST_SIZE, MOST_THREADS = 4096, 1024
"""Side of an image in pixels, and threads of a fit: far more than anybody needs, so that slips are told."""


@dataclass(frozen=True)
class MemberConfig:
    """One member of the ensemble: a network and the size at which it sees the radiographs."""

    __pydantic_config__ = _DOCUMENT

    name: str
    """Name of the member in tables, folders and reports."""
    network: str = "attention_cnn"
    """Name of the network, one of `base_models.list_models()`."""
    image_size: int = 96
    """Side of the square input in pixels; radiographs keep their aspect and are padded."""
    epochs: int = 10
    """Passes over the training images; the last epoch's weights are kept, without `early_stopping`."""
    options: Mapping[str, int | float] = field(default_factory=dict)
    """The network's own options, such as `blocks`, `width` and `dropout` of `attention_cnn`."""
    pretrained: bool = False
    """Begin with torchvision's own weights of the network (ImageNet), downloaded at the first use."""
    init_weights: str = ""
    """File of weights to begin with (`.pth` or `.safetensors`); a head of other classes stays fresh. Weights
    that have learned from the same radiographs would know the studies that the folds hold out: files of
    this package tell it, and are refused where they name some of the same image files; of others nothing is
    known."""
    training: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    """Training settings of this member alone, by the names of the ensemble's (`learning_rate`, `loss`,
    `precision`, …); what is not among them is as the ensemble's."""

    def __post_init__(self) -> None:
        if (
            not self.name
            or not all(c.isalnum() or c in "-_." for c in self.name)
            or self.name.startswith(".")
        ):
            raise UserError(
                f"expected a member's name of letters, digits, '-', '_' and '.', got {self.name!r}"
            )
        if self.pretrained and self.init_weights:
            raise UserError("expected pretrained or init_weights, got both; leave one out")
        if not 16 <= self.image_size <= LARGEST_SIZE:
            raise UserError(f"expected image_size from 16 to {LARGEST_SIZE}, got {self.image_size}")
        _at_least("epochs", self.epochs, 1)

    @property
    def has_learned(self) -> bool:
        """Whether it begins with weights from elsewhere."""
        return self.pretrained or bool(self.init_weights)


@dataclass(frozen=True)
class TrainingConfig:
    """How each network is trained."""

    __pydantic_config__ = _DOCUMENT

    batch_size: int = 32
    """Images of a batch. An epoch leaves out the images, others each time, that would fill no whole one."""
    accumulate: int = 1
    """Batches of an optimisation step."""
    learning_rate: float = 2e-3
    """Peak of the learning rate."""
    schedule: ScheduleName = "one_cycle"
    """How the learning rate rises to its peak and falls, see `base_models.training.optimization`."""
    warm_up: float = 0.25
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, on weight matrices and kernels only."""
    gradient_clip: float = 0.0
    """Longest gradient (Euclidean norm) of a step; a longer one is shortened. 0 leaves all as they are."""
    ema: float = 0.0
    """Decay of the moving average of the weights, which is kept instead of the last ones; 0 keeps those."""
    mixup: float = 0.0
    """Parameter α of mixup (arXiv:1710.09412), which blends pairs of images and losses; 0 does without."""
    augmentation: AugmentationName = "standard"
    """Preset of random changes to the training images."""
    augmentation_share: float = 1.0
    """Share of the training images that go through the whole preset; the others are only mirrored, where the
    preset mirrors. What the published recipe hides from a network is learned slowly."""
    loss: LossName = "cross_entropy"
    """Loss of an image; `class_weighted_bce` is the MURA paper's, weighted by body part and class."""
    class_weighted: bool = True
    """Weight the loss of each image by the inverse frequency of its class (not `class_weighted_bce`)."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss: how little an image counts that is already told apart."""
    smoothing: float = 0.1
    """Share of each label that `label_smoothing` spreads over all classes."""
    frozen_layers: float = 0.0
    """Share of the layers, from the stem on, that keep their weights from elsewhere; at 1 the head learns."""
    first_layer_rate: float = 1.0
    """Learning rate of the first layer as a share of the head's, where weights are from elsewhere; it grows
    by the same factor from each layer to the next."""
    inner_validation: float = 0.0
    """Share of a fit's training patients that it does not learn from, but is scored on behind each epoch."""
    early_stopping: int = 0
    """Epochs without a lower loss on the inner validation after which a fit ends, with the weights of its
    best epoch; 0 trains all epochs. Not with `one_cycle`, whose last epochs are its best."""
    precision: Precision = "auto"
    """Arithmetic of the training: `auto` takes bf16 where the processor or GPU has instructions for it, else
    fp32; `fp16` is for GPUs without bf16, and scales the loss."""
    loader_processes: int = -1
    """Processes that prepare the batches of a fit; 0 prepares them in the fit's own. By default (-1) a GPU
    has its share of the processor's cores but one, and a fit on the processor none. The images do not depend
    on it, and a resumed run may have another number."""
    threads_per_fit: int = 1
    """Threads of one fit; fits run in parallel. The number changes the last bits of the weights."""

    def __post_init__(self) -> None:
        _check_finite(self)
        _at_least("batch_size", self.batch_size, 2)
        _at_least("accumulate", self.accumulate, 1)
        if not 1 <= self.threads_per_fit <= MOST_THREADS:
            raise UserError(f"expected threads_per_fit from 1 to {MOST_THREADS}, got {self.threads_per_fit}")
        _at_least("loader_processes", self.loader_processes, -1)
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 < self.warm_up < 1):
            raise UserError(
                f"expected learning_rate > 0, weight_decay ≥ 0 and warm_up between 0 and 1, got "
                f"{self.learning_rate}, {self.weight_decay} and {self.warm_up}"
            )
        if not (self.gradient_clip >= 0 and 0 <= self.ema < 1 and self.mixup >= 0):
            raise UserError(
                f"expected gradient_clip ≥ 0, ema from 0 to below 1 and mixup ≥ 0, got {self.gradient_clip}, "
                f"{self.ema} and {self.mixup}"
            )
        if not (0 <= self.frozen_layers <= 1 and 0 < self.first_layer_rate <= 1):
            raise UserError(
                f"expected frozen_layers from 0 to 1 and first_layer_rate above 0, at most 1, got "
                f"{self.frozen_layers} and {self.first_layer_rate}"
            )
        if not 0 <= self.augmentation_share <= 1:
            raise UserError(f"expected augmentation_share from 0 to 1, got {self.augmentation_share}")
        self._check_validation()
        if not (self.focal_gamma >= 0 and 0 <= self.smoothing < 1):
            raise UserError(
                f"expected focal_gamma ≥ 0 and smoothing from 0 to below 1, got {self.focal_gamma} and "
                f"{self.smoothing}"
            )

    def _check_validation(self) -> None:
        """Refuse what cannot be validated, or stopped early."""
        _at_least("early_stopping", self.early_stopping, 0)
        if not 0 <= self.inner_validation <= 0.5:
            raise UserError(f"expected inner_validation from 0 to 0.5, got {self.inner_validation}")
        if self.early_stopping and not self.inner_validation:
            raise UserError(
                "expected a share of patients for early stopping to look at, got inner_validation of 0; set "
                "it, to 0.1 for example"
            )
        if self.early_stopping and self.schedule == "one_cycle":
            raise UserError(
                "expected the schedule cosine or constant with early stopping, got one_cycle, whose learning "
                "rate falls to 0 at an end that is known beforehand"
            )


@dataclass(frozen=True)
class EnsembleConfig:
    """An ensemble: its members, how they are cross-fitted and how they are trained."""

    __pydantic_config__ = _DOCUMENT

    members: tuple[MemberConfig, ...]
    """The members, in the order of the prediction tables."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How each network is trained."""
    folds: int = 3
    """Folds of the cross-fitting: each member is trained this many times, each time without one fold."""
    cache_size: int = 0
    """Side of the square, in pixels, that radiographs are fitted into and changed at before they are reduced
    to a member's size, if no member sees larger ones: twice the largest keeps sharp what is turned."""
    jobs: int = 0
    """Fits that run at the same time, each in a process of its own; 0 takes one per GPU, or where there is
    none one per processor core."""
    views: ViewRule = "mean"
    """How the views of a study are combined: the mean of their probabilities, those of the view that is
    surest of a finding (`maximum`), or as if each view could show a finding independently (`noisy_or`)."""
    mirror: bool = False
    """Predict each view and its mirror image, and average their probabilities (test-time augmentation)."""
    part_spread: float = 0.0
    """Calibrate with a bias of its own for each body part, shrunk towards the common one: the standard
    deviation around it, in logits, that is expected of them. 0 gives them none; 0.5 is a moderate one."""
    drop_below: float = 0.0
    """Leave members out whose AUROC on the inner validation, the mean over folds, is more than this below the
    best member's; 0 keeps all."""
    hard_studies: str = ""
    """Folder of an earlier run: training studies that it got wrong out of fold are seen more often."""
    oversample: int = 2
    """How often an epoch shows each of the hard studies."""
    devices: int = 0
    """GPUs of this machine that the fits are spread over; 0 takes all there are."""
    spread: Spread = "fits"
    """What the processes of `torchrun` divide among them: the fits, or each batch of every fit (DDP)."""
    tensorboard: bool = False
    """Write the curves of each fit to the run's folder `tensorboard/`."""

    def __post_init__(self) -> None:
        _check_finite(self)
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise UserError(f"expected at least one member, each with its own name, got {names}")
        _at_least("folds", self.folds, 2)
        _at_least("jobs", self.jobs, 0)
        if not 0 <= self.cache_size <= LARGEST_SIZE:
            raise UserError(f"expected cache_size from 0 to {LARGEST_SIZE}, got {self.cache_size}")
        _at_least("devices", self.devices, 0)
        _at_least("oversample", self.oversample, 1)
        if not (self.part_spread >= 0 and self.drop_below >= 0):
            raise UserError(
                f"expected part_spread and drop_below ≥ 0, got {self.part_spread} and {self.drop_below}"
            )
        shares = {self.training_of(member).inner_validation for member in self.members}
        if self.drop_below and (0.0 in shares or len(shares) > 1):
            raise UserError(
                "expected the same share of patients to choose members by, got inner_validation of "
                f"{', '.join(f'{share:g}' for share in sorted(shares))}; set it, "
                "to 0.1 for example, or leave drop_below out"
            )

    def training_of(self, member: MemberConfig) -> TrainingConfig:
        """Return a member's training settings: its own where it has some, else the ensemble's.

        Layers are frozen, or learn at rates of their own, only where a member begins with pretrained weights.

        Raises:
            UserError: If a setting does not exist, or its value is of another type or out of range.
        """
        settings = {**asdict(self.training), **member.training} if member.training else {}
        where = f"members.{member.name}.training"
        training = _from_document(TrainingConfig, settings, where) if settings else self.training
        return training if member.has_learned else replace(training, frozen_layers=0.0, first_layer_rate=1.0)

    @property
    def cached_side(self) -> int:
        """Side of the cached radiographs in pixels: no member sees larger ones."""
        return max(self.cache_size, *(member.image_size for member in self.members))


def _check_finite(config: TrainingConfig | EnsembleConfig) -> None:
    """Refuse infinite numbers, which no comparison below does and no JSON document holds."""
    for of in fields(config):
        value = getattr(config, of.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"expected a finite {of.name}, got {value}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise UserError(f"expected {name} of at least {least}, got {value}")


def ensemble_document(config: EnsembleConfig) -> dict[str, Any]:
    """Return an ensemble as a JSON-ready document, which `ensemble_from_document` reads."""
    document = asdict(config)
    return {**document, "members": list(document["members"])}


def ensemble_from_document(document: Mapping[str, Any]) -> EnsembleConfig:
    """Read an ensemble from a JSON document, such as `ensemble` in the `config.json` of a run.

    Fields that the document lacks have their defaults; the members must be there.

    Raises:
        UserError: If a field does not exist, or its value is of another type or out of range; names it.
    """
    return _from_document(EnsembleConfig, document, "ensemble")


Config = TypeVar("Config", TrainingConfig, EnsembleConfig)


def _from_document(kind: type[Config], document: object, where: str) -> Config:
    """Create a configuration of a document whose fields and types are checked strictly."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  # not for the defaults alone

    adapter: TypeAdapter[Config] = TypeAdapter(kind)
    try:
        # JSON, since a list is a tuple there and an integer a float, but a text is no number
        return adapter.validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        first: Any = error.errors()[0]
        name = ".".join(map(str, (where, *first["loc"])))
        cause = first.get("ctx", {}).get("error")
        if cause:  # of `__post_init__`
            raise UserError(f"{cause} (in {name})") from error
        if first["type"] == "missing":
            raise UserError(f"expected the field {name}, got a document without it; add it") from error
        if first["type"] == "unexpected_keyword_argument":
            raise UserError(f"expected only fields that exist, got {name}; correct or remove it") from error
        raise UserError(f"expected another {name}, got {first['input']!r}: {first['msg']}") from error
