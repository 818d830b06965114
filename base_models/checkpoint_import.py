"""Reading the published checkpoints of MURA-RLEnsemble into members of this package.

The first version holds three attention CNNs (`model1`, `model2`, `model3`) and the weighting between them;
the later ones put that below `rl_ensemble.` and add a specialist (`specialist.model.`, a DenseNet-121 or an
EfficientNet-B3) and a gate (`gating.fc.`). Versions three and four have squeeze-and-excitation and CBAM in
their attention CNNs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from base_models.calibration import Calibration
from base_models.config import MemberConfig
from base_models.members import (
    TrainedMember,
    new_network,
    remove_index,
    save_index,
    save_member,
    weights_path,
)
from base_models.networks import create_model
from base_models.networks.input_format import PUBLISHED_RGB
from base_models.networks.pretrained import read_state_dict
from base_models.storage import save_tensors
from mura_env.errors import UserError
from mura_env.utils.files import replacing

CLASS_NAMES = ("normal", "abnormal")
IMAGE_SIZE = 160
"""Side of the published networks' input in pixels; radiographs are stretched to it."""
SPECIALISTS = {"densenet121": 224, "efficientnet_b3": 300}
"""Networks of the published specialists, with the size that they enlarge smaller images to."""
_WEIGHTING_FILE = "published_weighting.safetensors"
_WEIGHTING = ("rl_weight_agent", "rl_weight_agent_fc", "temperature", "part_attention", "default_weights")


@dataclass(frozen=True)
class ImportedMember:
    """A network of a published checkpoint."""

    config: MemberConfig
    """What it is."""
    network: nn.Module
    """In evaluation mode, from images (n, 3, height, width) to logits (n, n_classes)."""
    n_classes: int
    """Number of classes."""


@dataclass(frozen=True)
class ImportedCheckpoint:
    """What a published checkpoint holds."""

    members: dict[str, ImportedMember]
    """Name → member, in the order of the original."""
    weighting: dict[str, Tensor]
    """The tensors of the original's weighting and gate, which belong to no member."""


def read_checkpoint(path: str | Path) -> ImportedCheckpoint:
    """Read a published checkpoint; each network gives the original's outputs on the original's inputs.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds more than data, or is no checkpoint of these networks.
    """
    groups: dict[str, dict[str, Tensor]] = {}
    weighting: dict[str, Tensor] = {}
    for full_name, tensor in read_state_dict(path).items():
        name = full_name.removeprefix("rl_ensemble.")
        if not tensor.is_floating_point() and not name.endswith("num_batches_tracked"):
            raise UserError(f"expected floating-point values of {name!r} in {path}, got {tensor.dtype}")
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(f"expected finite values of {name!r} in {path}, got others; get the file anew")
        part, _, rest = name.partition(".")
        if part in {"model1", "model2", "model3"}:
            groups.setdefault(part, {})[rest] = tensor
        elif name.startswith("specialist.model."):
            groups.setdefault("specialist", {})[name.removeprefix("specialist.model.")] = tensor
        elif part in _WEIGHTING or name.startswith("gating."):
            weighting[name] = tensor
        else:
            raise UserError(
                f"expected the names of a published MURA-RLEnsemble checkpoint in {path}, got {full_name!r}; "
                "weights of another network can be used with --init-weights"
            )
    missing = [name for name in ("model1", "model2", "model3") if name not in groups]
    if missing:
        raise UserError(f"expected {', '.join(missing)} in {path}, got only {sorted(groups)}")
    members = {
        name: (_specialist if name == "specialist" else _attention_cnn)(name, groups[name], path)
        for name in sorted(groups)
    }
    counts = {name: member.n_classes for name, member in members.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 2:
        found = ", ".join(f"{n} of {name}" for name, n in counts.items())
        raise UserError(f"expected the same two or more classes of all networks in {path}, got {found}")
    return ImportedCheckpoint(members, weighting)


def import_checkpoint(path: str | Path, run_dir: str | Path) -> ImportedCheckpoint:
    """Write a published checkpoint's networks as the members of a run.

    Each becomes a member of one fold without calibration, since the checkpoint has no out-of-fold logits to
    calibrate on. The tensors of the original's weighting go to `members/published_weighting.safetensors`.

    Args:
        path: File of the checkpoint.
        run_dir: Folder that gets `members/`; `load_members` reads it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, holds more than data, or is no checkpoint of these networks.
    """
    run_dir = Path(run_dir)
    imported = read_checkpoint(path)
    remove_index(run_dir)  # an import that is killed leaves no mixture of two checkpoints that can be loaded
    (run_dir / "members" / _WEIGHTING_FILE).unlink(missing_ok=True)
    facts = {"source": Path(path).name}
    for name, member in imported.members.items():
        n = member.n_classes
        identity = Calibration(temperature=1.0, bias=(0.0,) * n)
        class_names = CLASS_NAMES if n == len(CLASS_NAMES) else tuple(f"class{i}" for i in range(n))
        save_tensors(member.network.state_dict(), weights_path(run_dir, name, 0), facts)
        trained = TrainedMember(
            member.config, (), identity, (identity,), class_names, IMAGE_SIZE, PUBLISHED_RGB
        )
        save_member(run_dir, trained, {"imported": facts})
    if imported.weighting:
        with replacing(run_dir / "members" / _WEIGHTING_FILE) as temporary:
            # copies, as regions may share a tensor, which the format does not allow
            tensors = {name: tensor.clone().contiguous() for name, tensor in imported.weighting.items()}
            temporary.write_bytes(save(tensors))
    save_index(run_dir, list(imported.members))
    return imported


def _attention_cnn(name: str, state: dict[str, Tensor], path: str | Path) -> ImportedMember:
    """Create an attention CNN of the form, depth and width that its tensors have."""
    network = "attention_cnn"
    if any(key.startswith("se1.") for key in state):
        network = "attention_cnn_se"
    elif any(key.startswith("cbam.") for key in state):
        network = "attention_cnn_cbam"
    try:
        width, in_channels = state["conv1.weight"].shape[:2]
        n_classes = state["fc.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"expected conv1.weight with 4 axes and fc.weight with 2 of {name} in {path}, got {error}"
        ) from error
    blocks = len({key.split(".")[1] for key in state if key.startswith("layer1.")})
    config = MemberConfig(name, network, IMAGE_SIZE, options={"blocks": blocks, "width": width})
    filled = _filled(config, n_classes, in_channels, state, f"{name} in {path}")
    return ImportedMember(config, filled, n_classes)


def _specialist(name: str, state: dict[str, Tensor], path: str | Path) -> ImportedMember:
    """Create the specialist whose tensors have these names and shapes."""
    biases = [tensor for key, tensor in state.items() if key.endswith(".bias") and tensor.ndim == 1]
    if not biases:
        raise UserError(f"expected biases with one axis of {name} in {path}, got none; get the file anew")
    n_classes = len(biases[-1])
    for network, least_size in SPECIALISTS.items():
        with torch.random.fork_rng(devices=[]):
            candidate = create_model(network, n_classes, 3)
        if {key.removeprefix("model.") for key in candidate.state_dict()} >= set(state):
            config = MemberConfig(name, network, IMAGE_SIZE, options={"least_size": least_size})
            tensors = {f"model.{key}": tensor for key, tensor in state.items()}
            filled = _filled(config, n_classes, 3, tensors, f"{name} in {path}")
            return ImportedMember(config, filled, n_classes)
    raise UserError(
        f"expected a specialist among {', '.join(SPECIALISTS)} in {path}, got a network with "
        f"{next(iter(state))!r}"
    )


def _filled(
    config: MemberConfig, n_classes: int, in_channels: int, state: Mapping[str, Tensor], where: str
) -> nn.Module:
    """Create a network in evaluation mode with all of its tensors filled."""
    with torch.random.fork_rng(devices=[]):  # the values drawn here are overwritten
        network = new_network(config, n_classes, in_channels)
    for key, tensor in network.state_dict().items():
        if key in state and state[key].shape != tensor.shape:
            raise UserError(
                f"expected a {config.network} as {where}, got one whose {key!r} has the shape "
                f"{tuple(state[key].shape)} instead of {tuple(tensor.shape)}"
            )
    missing, unknown = network.load_state_dict(state, strict=False)
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]  # absent in old files
    if missing or unknown:
        fault = f"without {missing[0]!r}" if missing else f"with {unknown[0]!r}"
        raise UserError(f"expected a {config.network} as {where}, got one {fault}")
    return network.eval()
