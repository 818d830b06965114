"""Named configurations of the ensemble, from a demonstration to the full recipe.

Members see the radiographs at different sizes and depths, so that what each can see depends on the body part;
members that differ by seed alone would leave nothing to weight.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig

# All presets train with the steps of the published augmentation in narrower ranges, on a share of the
# images: in so few epochs a network learns little from images that are always augmented (on FracAtlas,
# out of fold, `cnn-64` of `fast` reached an AUROC of 0.70 with all images changed, 0.75 with half and 0.76
# with a quarter of them).

_DEMO = EnsembleConfig(
    members=(
        MemberConfig(
            "cnn-32-deep", image_size=32, epochs=18, options={"blocks": 2, "width": 12, "dropout": 0.0}
        ),
        MemberConfig("cnn-48", image_size=48, epochs=20, options={"blocks": 1, "width": 12, "dropout": 0.0}),
        MemberConfig("cnn-64", image_size=64, epochs=20, options={"blocks": 1, "width": 8, "dropout": 0.0}),
    ),
    training=TrainingConfig(
        batch_size=16,
        learning_rate=1e-3,
        augmentation="moderate",
        augmentation_share=0.15,
    ),
    folds=2,
    cache_size=128,
)

# EfficientNet-Lite starts from ImageNet weights, and a fifth of its layers keeps them: those see the largest
# planes, so an epoch takes less than half the time. Learning rates fall towards the first layers.
_PRETRAINED: Mapping[str, float | str] = MappingProxyType(
    {
        "learning_rate": 1e-3,
        "layer_decay": 0.5,
        "frozen_layers": 0.2,
        "weight_decay": 0.02,
        "augmentation": "wide",
        "augmentation_share": 1.0,
    }
)
_WITH_BOXES = MappingProxyType({**_PRETRAINED, "box_loss": 1.0})


def _lite(name: str, network: str, image_size: int, epochs: int, boxes: bool) -> MemberConfig:
    """Return a pretrained member that learns from boxes where the data set has some, or from labels alone."""
    training = dict(_WITH_BOXES if boxes else _PRETRAINED)
    return MemberConfig(
        name,
        network=network,
        image_size=image_size,
        epochs=epochs,
        pretrained=True,
        training=training,
    )


_FAST = EnsembleConfig(
    members=(
        _lite("lite0-160", "efficientnet_lite0", 160, 6, True),
        _lite("lite0-128", "efficientnet_lite0", 128, 6, False),
        MemberConfig("cnn-64", image_size=64, epochs=16, options={"dropout": 0.1}),
    ),
    training=TrainingConfig(learning_rate=3e-3, augmentation="moderate", augmentation_share=0.3),
    folds=3,
    cache_size=192,
    crop=True,
    part_bias_std=0.25,
    features=True,
)

_FULL = EnsembleConfig(
    members=(
        _lite("lite0-224", "efficientnet_lite0", 224, 8, True),
        _lite("lite1-192", "efficientnet_lite1", 192, 8, True),
        _lite("lite0-160", "efficientnet_lite0", 160, 8, False),
        MemberConfig("cnn-96", image_size=96, epochs=16, options={"dropout": 0.3}),
    ),
    training=TrainingConfig(augmentation="moderate", augmentation_share=0.5),
    folds=3,
    cache_size=320,
    crop=True,
    # Out of fold on FracAtlas, where hands are fractured three times as often as legs, members of `fast` had
    # an AUROC of 0.764 when calibrated again by common biases, of 0.773 with a quarter logit for parts.
    part_bias_std=0.25,
    features=True,
)

GPU_BATCH = 64
GPU_SIDE = 1.5
"""Factor on the sides of pretrained members and of the cache."""


def for_gpu(config: EnsembleConfig) -> EnsembleConfig:
    """Return a preset as it is trained on a GPU: larger images for pretrained members, larger batches.

    Learning rates grow with the square root of the batch (Malladi et al., arXiv:2205.10287). Chosen, not
    measured: no GPU has trained these presets on radiographs yet.
    """
    factor = math.sqrt(GPU_BATCH / config.training.batch_size)

    def larger(member: MemberConfig) -> MemberConfig:
        training, side = dict(member.training), member.image_size
        if "learning_rate" in training:
            training["learning_rate"] = float(training["learning_rate"]) * factor
        if member.pretrained:
            side = round(side * GPU_SIDE / 32) * 32
        return replace(member, image_size=side, training=training)

    rate = config.training.learning_rate * factor
    return replace(
        config,
        members=tuple(larger(member) for member in config.members),
        training=replace(config.training, batch_size=GPU_BATCH, learning_rate=rate),
        cache_size=round(config.cache_size * GPU_SIDE),
    )


PRESETS: Mapping[str, EnsembleConfig] = MappingProxyType({"demo": _DEMO, "fast": _FAST, "full": _FULL})
"""On two CPU cores `demo` takes three to five minutes for a thousand synthetic studies. For two thousand real
ones, reckoned from single fits, `fast` takes half an hour and `full` an hour and a half."""
