"""The options `--members`, `--init-weights` and `--pretrained`, which choose an ensemble's members."""

import os
from collections.abc import Sequence
from dataclasses import replace

from base_models.config import EnsembleConfig, MemberConfig
from base_models.networks.registry import check_model_name, has_published_weights
from base_models.networks.timm_classifier import PREFIX
from mura_env.errors import UserError

MAX_MEMBERS = 1000
"""Upper bound of the number of members: a typo guard."""


def choose_members(config: EnsembleConfig, line: str) -> EnsembleConfig:
    """Return an ensemble of the members that a line names, in its order.

    Each entry is `NETWORK[:COUNT[:SIZE[:EPOCHS]]][@PART[+PART…]]`, with the body parts of specialists. The
    rest is that of the configuration's members of the same network, in turn; a network that it does not have
    takes size and epochs of the member at the same place, and trains as the ensemble does.
    """
    replaced = next((member for member in config.members if member.init_weights), None)
    if replaced is not None:
        raise UserError(
            f"expected a use for the weights {replaced.init_weights}, got --members, which replaces "
            f"{replaced.name!r}; name them with --init-weights NETWORK=FILE"
        )
    members: list[MemberConfig] = []
    for entry in filter(None, (part.strip() for part in line.split(","))):
        entry, at, line_of_parts = entry.partition("@")  # noqa: PLW2901
        body_parts = tuple(part.strip() for part in line_of_parts.split("+")) if at else ()
        network, *numbers = entry.removeprefix(PREFIX).split(":")
        network = PREFIX + network if entry.startswith(PREFIX) else network
        check_model_name(network)
        if len(numbers) > 3 or not all(map(_is_count, numbers)) or not all(body_parts):
            raise UserError(
                "expected members as NETWORK[:COUNT[:SIZE[:EPOCHS]]][@PART+PART], whole numbers from 1, got "
                f"{entry[:80]!r}"
            )
        count, size, epochs = (*(int(number) for number in numbers), *(0,) * (3 - len(numbers)))
        if len(members) + count > MAX_MEMBERS:
            raise UserError(f"expected at most {MAX_MEMBERS} members, got more in {entry!r}")
        for _ in range(count or 1):
            name = f"{len(members) + 1}-{network.removeprefix(PREFIX)}"
            alike = [member for member in config.members if member.network == network]
            n_before = sum(member.network == network for member in members)
            like = (
                alike[n_before % len(alike)] if alike else config.members[len(members) % len(config.members)]
            )
            members.append(
                replace(
                    like if alike else MemberConfig(name, network),
                    name=name,
                    image_size=size or like.image_size,
                    epochs=epochs or like.epochs,
                    body_parts=body_parts,
                )
            )
    return replace(config, members=tuple(members))


def choose_initial_weights(
    config: EnsembleConfig, files: Sequence[str], pretrained: bool = False
) -> EnsembleConfig:
    """Return an ensemble whose members start from pretrained weights.

    Args:
        config: The ensemble.
        files: Each `FILE`, for all members, or `NETWORK=FILE`, for those of one network. With a slash before
            its first `=` it is a file.
        pretrained: Members without a file start from their network's published weights, if any.
    """
    file_of: dict[str, str] = {}
    for entry in files:
        network, separator, file = entry.partition("=")
        is_for_one = separator and not {"/", os.sep} & set(network)
        network, file = (network, file) if is_for_one else ("", entry)
        whose = repr(network) if network else "all members"
        if not file:
            raise UserError(f"expected a file of pretrained weights for {whose}, got an empty name")
        if network in file_of:
            raise UserError(
                f"expected one file of pretrained weights for {whose}, got {file_of[network]} and {file}; "
                "leave one of them out, or name the network of each as NETWORK=FILE"
            )
        file_of[network] = file
    networks = sorted({member.network for member in config.members})
    unused = sorted(file_of.keys() - {"", *networks})
    if unused:
        raise UserError(
            f"expected weights for networks of the ensemble ({', '.join(networks)}), got some for "
            f"{unused[0]!r}"
        )
    members = []
    for member in config.members:
        file = file_of.get(member.network, file_of.get("", ""))
        if file and member.is_pretrained:
            raise UserError(
                f"expected one source of pretrained weights for the member {member.name!r}, got {file} and "
                f"{member.init_weights or 'its option pretrained'}; leave one of them out"
            )
        file = file or member.init_weights
        download = member.pretrained or (pretrained and not file and has_published_weights(member.network))
        members.append(replace(member, init_weights=file, pretrained=download))
    if pretrained and not any(member.pretrained for member in members):
        raise UserError(
            "expected a network with published weights and without a file of its own for --pretrained, got "
            f"members of {', '.join(networks)}; leave --pretrained out, or name others with --members"
        )
    return replace(config, members=tuple(members))


def _is_count(text: str) -> bool:
    """Return whether a text is a whole number from 1, of at most nine digits."""
    return text.isdecimal() and len(text) <= 9 and int(text) > 0
