"""Every choice in the training of an ensemble, as frozen dataclasses: also the command line's options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

AugmentationName = Literal["rlensemble_v1", "standard", "flips", "none"]
ScheduleName = Literal["one_cycle", "cosine"]
LossName = Literal["cross_entropy", "class_weighted_bce", "focal", "label_smoothing"]


@dataclass(frozen=True)
class MemberConfig:
    """One member of the ensemble: a network and the size at which it sees the radiographs."""

    name: str
    """Name of the member in tables, folders and reports."""
    network: str = "attention_cnn"
    """Name of the network, one of `base_models.list_models()`."""
    image_size: int = 96
    """Side of the square input in pixels; radiographs keep their aspect and are padded."""
    epochs: int = 10
    """Passes over the training images; the last epoch's weights are kept."""
    options: Mapping[str, int | float] = field(default_factory=dict)
    """The network's own options, such as `blocks`, `width` and `dropout` of `attention_cnn`."""
    pretrained: bool = False
    """Begin with torchvision's own weights of the network (ImageNet), downloaded at the first use."""
    init_weights: str = ""
    """File of weights to begin with (`.pth` or `.safetensors`); a head of other classes stays fresh."""

    def __post_init__(self) -> None:
        if (
            not self.name
            or not all(c.isalnum() or c in "-_." for c in self.name)
            or self.name.startswith(".")
        ):
            raise ValueError(
                f"expected a member's name of letters, digits, '-', '_' and '.', got {self.name!r}"
            )
        if self.pretrained and self.init_weights:
            raise ValueError("expected pretrained or init_weights, got both; leave one out")
        _at_least("image_size", self.image_size, 16)
        _at_least("epochs", self.epochs, 1)


@dataclass(frozen=True)
class TrainingConfig:
    """How each network is trained."""

    batch_size: int = 32
    """Images of a batch."""
    accumulate: int = 1
    """Batches of an optimisation step."""
    learning_rate: float = 2e-3
    """Peak of the learning rate."""
    schedule: ScheduleName = "one_cycle"
    """How the learning rate rises to its peak and falls, see `base_models.learning_rate`."""
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
    loss: LossName = "cross_entropy"
    """Loss of an image; `class_weighted_bce` is the MURA paper's, weighted by body part and class."""
    class_weighted: bool = True
    """Weight the loss of each image by the inverse frequency of its class (not `class_weighted_bce`)."""
    focal_gamma: float = 2.0
    """Exponent of the focal loss: how little an image counts that is already told apart."""
    smoothing: float = 0.1
    """Share of each label that `label_smoothing` spreads over all classes."""
    threads_per_fit: int = 1
    """Threads of one fit; fits run in parallel. The number changes the last bits of the weights."""

    def __post_init__(self) -> None:
        _at_least("batch_size", self.batch_size, 2)
        _at_least("accumulate", self.accumulate, 1)
        _at_least("threads_per_fit", self.threads_per_fit, 1)
        if not (self.learning_rate > 0 and self.weight_decay >= 0 and 0 < self.warm_up < 1):
            raise ValueError(
                f"expected learning_rate > 0, weight_decay ≥ 0 and warm_up between 0 and 1, got "
                f"{self.learning_rate}, {self.weight_decay} and {self.warm_up}"
            )
        if not (self.gradient_clip >= 0 and 0 <= self.ema < 1 and self.mixup >= 0):
            raise ValueError(
                f"expected gradient_clip ≥ 0, ema from 0 to below 1 and mixup ≥ 0, got {self.gradient_clip}, "
                f"{self.ema} and {self.mixup}"
            )
        if not (self.focal_gamma >= 0 and 0 <= self.smoothing < 1):
            raise ValueError(
                f"expected focal_gamma ≥ 0 and smoothing from 0 to below 1, got {self.focal_gamma} and "
                f"{self.smoothing}"
            )


@dataclass(frozen=True)
class EnsembleConfig:
    """An ensemble: its members, how they are cross-fitted and how they are trained."""

    members: tuple[MemberConfig, ...]
    """The members, in the order of the prediction tables."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How each network is trained."""
    folds: int = 3
    """Folds of the cross-fitting: each member is trained this many times, each time without one fold."""
    jobs: int = 0
    """Fits that run at the same time, each in a process of its own; 0 takes one per processor core."""

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"expected at least one member, each with its own name, got {names}")
        _at_least("folds", self.folds, 2)
        _at_least("jobs", self.jobs, 0)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"expected {name} of at least {least}, got {value}")
