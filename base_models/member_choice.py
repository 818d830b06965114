"""Which members an ensemble has: named on one line beforehand, left out for weakness afterwards."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from base_models.configuration import EnsembleConfig, MemberConfig
from base_models.fitting import FitResult
from base_models.networks.registry import check_model_name
from base_models.networks.timm_classifier import PREFIX


def choose_members(config: EnsembleConfig, line: str) -> EnsembleConfig:
    """Return an ensemble of the members that a line names, in its order.

    Each entry is `NETWORK[:COUNT[:SIZE[:EPOCHS]]]`. Sizes and epochs that are not given are those of the
    configuration's member at the same place, beginning anew behind its last: members of one network differ by
    seed and, as far as the configuration's own members do, by size. So do the options of `attention_cnn`.

    Args:
        config: Gives what the line leaves out.
        line: Entries, separated by commas.

    Raises:
        ValueError: If a network does not exist, or a number is none.
    """
    members: list[MemberConfig] = []
    for entry in filter(None, (part.strip() for part in line.split(","))):
        network, *numbers = entry.removeprefix(PREFIX).split(":")
        network = PREFIX + network if entry.startswith(PREFIX) else network
        check_model_name(network)
        if len(numbers) > 3 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
            raise ValueError(
                f"expected members as NETWORK[:COUNT[:SIZE[:EPOCHS]]], whole numbers from 1, got {entry!r}"
            )
        count, size, epochs = (*(int(number) for number in numbers), *(0,) * (3 - len(numbers)))
        for _ in range(count or 1):
            like = config.members[len(members) % len(config.members)]
            own = network.startswith("attention_cnn") and like.network.startswith("attention_cnn")
            members.append(
                MemberConfig(
                    name=f"{len(members) + 1}-{network.removeprefix(PREFIX)}",
                    network=network,
                    image_size=size or like.image_size,
                    epochs=epochs or like.epochs,
                    options=like.options if own else {},
                )
            )
    return replace(config, members=tuple(members))


def choose_initial_weights(
    config: EnsembleConfig, files: Sequence[str], pretrained: bool = False
) -> EnsembleConfig:
    """Return an ensemble whose members begin with weights from elsewhere.

    Args:
        config: The ensemble.
        files: Each `FILE`, for all members, or `NETWORK=FILE`, for those of one network. With a slash before
            its first `=` it is a file.
        pretrained: Members without a file begin with torchvision's own weights where it has some.

    Raises:
        ValueError: If a file is for a network that no member has, or pretrained weights are for none.
    """
    file_of = {}
    for entry in files:
        network, separator, file = entry.partition("=")
        is_for_one = separator and not {"/", os.sep} & set(network)
        file_of[network if is_for_one else ""] = file if is_for_one else entry
    networks = sorted({member.network for member in config.members})
    unused = sorted(file_of.keys() - {"", *networks})
    if unused:
        raise ValueError(
            f"expected weights for networks of the ensemble ({', '.join(networks)}), got some for "
            f"{unused[0]!r}"
        )
    members = []
    for member in config.members:
        file = file_of.get(member.network, file_of.get("", ""))
        own = member.network.startswith(("attention_cnn", PREFIX))
        members.append(replace(member, init_weights=file, pretrained=pretrained and not file and not own))
    if pretrained and not any(member.pretrained for member in members):
        raise ValueError(
            "expected a classifier of torchvision without a file of its own for --pretrained, got members of "
            f"{', '.join(networks)}; leave --pretrained out, or name such members with --members"
        )
    return replace(config, members=tuple(members))


def weak_members(config: EnsembleConfig, fits: Sequence[Sequence[FitResult]]) -> dict[str, str]:
    """Find the members that read the inner validation images much worse than the best member does.

    Each fit is validated on patients of its own training folds, and all members on the same ones; neither the
    test split nor the fold that a fit holds out has a say in its score.

    Args:
        config: Says how far below the best is too far.
        fits: The fits by member and fold.

    Returns:
        Name of the member → the reason to leave it out; empty where weak members stay.
    """
    if not config.drop_below:
        return {}
    areas = [float(np.mean([fit.inner_score.auroc for fit in of if fit.inner_score])) for of in fits]
    best = max(areas)
    return {
        member.name: f"AUROC {area:.3f} on the inner validation, the best member's is {best:.3f}"
        for member, area in zip(config.members, areas, strict=True)
        if area < best - config.drop_below
    }
