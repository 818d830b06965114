"""Pretrained weights: a local file or a network's published ones, fitted to stem and head."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from base_models.networks.input_format import GREY, IMAGENET, INPUT_FORMAT, InputFormat
from base_models.networks.timm_classifier import TimmClassifier
from base_models.networks.torchvision_classifier import PUBLISHED_PLANES, TorchvisionClassifier, planes_kernel
from base_models.storage import read_facts
from mura_env.errors import UserError
from mura_env.utils.files import regular_file

_WRAPPERS = ("model_state_dict", "state_dict", "model")
_SIDE_HEADS = re.compile(r"(aux1|aux2|AuxLogits)\.")  # googlenet, inception_v3
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")  # the download's spelling


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors from `.safetensors` or from a file of `torch.save`, without running code from it.

    The tensors may lie inside `model_state_dict`, `state_dict` or `model`, and their names may begin with
    `module.` as `DataParallel` writes them.
    """
    path = regular_file(path, "a file of weights")
    content = _read_content(path)
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"expected a state dict of tensors in {path}, got {type(content).__name__}")
    foreign = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if foreign:
        raise UserError(f"expected only named tensors in {path}, got {foreign[0]!r}, which is none")
    state = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    if len(state) < len(content):
        raise UserError(f"expected each tensor once in {path}, got some with and without 'module.'")
    for name, tensor in state.items():
        # sparse, quantised, complex and empty (meta) tensors are data, too, but of no network here
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.is_meta:
            raise UserError(
                f"expected plain tensors of real numbers in {path}, got another kind for {name!r}"
            )
    return state


def _read_content(path: Path) -> object:
    """Return what a file of weights holds, whatever it is, without running code from it."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            # The errors below say the same in one line each.
            for words in ("Detected pickle protocol", "Validating sparse tensor", "TypedStorage is"):
                warnings.filterwarnings("ignore", words, UserWarning)
            content: object = torch.load(path, map_location="cpu", weights_only=True)
            return content
    except PermissionError:
        raise
    except Exception as error:  # torch's readers raise many kinds; whichever it is, the file is damaged
        # torch's own words are left out: they advise to load the file unsafely.
        what = "one that holds more than data" if path.stat().st_size else "an empty one"
        raise UserError(
            f"expected a state dict of tensors in {path}, got a damaged file or {what}; "
            "save it again with torch.save(model.state_dict(), FILE)"
        ) from error


def pretrained_state_dict(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's published weights, by its method `published_state`: of a package, or downloaded."""
    published = getattr(network, "published_state", None)
    if published is None:
        raise UserError(
            f"expected a network with published weights, got {type(network).__name__}; name a file with "
            "--init-weights, or leave `pretrained` out"
        )
    state: dict[str, Tensor] = published()
    return state


def fitted_state(network: nn.Module, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Fit weights to a network, which is not changed and may be on the meta device.

    A stem for other planes is fitted: the kernels of the colours are added, which gives on one plane what
    they would give on three copies of it. Tensors of a head of other classes are left out, so that they keep
    their fresh values. `source` names the weights in messages.
    """
    state = _spelt_alike(network, state)
    wanted = network.state_dict()
    head, stem = getattr(network, "head_name", _last_layer(network)), _stem(network)
    if _takes_colours(state, stem) and wanted[stem].shape[1] != PUBLISHED_PLANES:
        state[stem] = planes_kernel(state[stem], wanted[stem].shape[1])
    fresh = [
        name
        for name in wanted
        if name.startswith(f"{head}.") and (name not in state or state[name].shape != wanted[name].shape)
    ]
    state = {name: tensor for name, tensor in state.items() if name not in fresh}
    missing = [
        name for name in wanted if name not in {*state, *fresh} and not name.endswith("num_batches_tracked")
    ]
    unknown = [name for name in state if name not in wanted and not name.startswith(f"{head}.")]
    shapes = [name for name in state if name in wanted and state[name].shape != wanted[name].shape]
    for names, fault in (
        (missing, "missing key"),
        (unknown, "unexpected key"),
        (shapes, "shape mismatch of"),
    ):
        if names:
            raise UserError(
                f"expected weights of the network to train in {source}, but it is another network's: "
                f"{fault} {names[0]!r}"
            )
    return {name: state[name] for name in state if name in wanted}


def learned_format(network: nn.Module, path: str | Path) -> InputFormat:
    """Return what the weights of a file have learned to take a radiograph as.

    Weights of this package's fits say it. Others whose stem takes three planes are taken for those of colour
    images, normalised as the network's library says, and the rest for weights of grey images like ours.
    """
    try:
        return INPUT_FORMAT.validate_python(read_facts(Path(path))["input_format"])
    except (ValueError, KeyError):  # of torch.save, or of another program
        colours = _takes_colours(_spelt_alike(network, read_state_dict(path)), _stem(network))
        return colour_format(network) if colours else GREY


def colour_format(network: nn.Module) -> InputFormat:
    """Return the one grey plane that weights of a network for colour images have learned to see best.

    A network's `published_normalisation` says what red, green and blue are normalised by; without one it is
    taken for ImageNet's.
    """
    normalisation = getattr(network, "published_normalisation", None)
    return (InputFormat(*normalisation) if normalisation else IMAGENET).one_plane


def _spelt_alike(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name tensors as the network does, and leave the heads out that serve training alone.

    What torch.compile, a LightningModule or another wrapper puts before every name is left out.
    """
    wanted = network.state_dict().keys()
    while (
        all("." in name for name in state)
        and len({name.partition(".")[0] for name in state}) == 1
        and not any({name, f"model.{name}"} & wanted for name in state)
    ):
        state = {name.partition(".")[2]: tensor for name, tensor in state.items()}
    state = {_OLD_DENSENET.sub(r"\1\2.", name): tensor for name, tensor in state.items()}
    state = {name: tensor for name, tensor in state.items() if not _SIDE_HEADS.match(name)}
    if isinstance(network, TorchvisionClassifier | TimmClassifier) and not any(
        name.startswith("model.") for name in state
    ):
        state = {f"model.{name}": tensor for name, tensor in state.items()}
    return state


def _takes_colours(state: Mapping[str, Tensor], stem: str) -> bool:
    """Return whether the kernel of a stem is for three planes."""
    return stem in state and state[stem].ndim == 4 and state[stem].shape[1] == PUBLISHED_PLANES


def _stem(network: nn.Module) -> str:
    """Return the name of the kernel of the first convolution."""
    kernels = (name for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    return f"{next(kernels)}.weight"


def _last_layer(network: nn.Module) -> str:
    """Return the name of the last layer that gives the class logits."""
    layers = [
        str(name) for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ]
    return layers[-1]
