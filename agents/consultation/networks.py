"""The one network of consultation: a hidden layer of hyperbolic tangents, trained by torch, read by numpy."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mura_env.combination import FloatArray


def new_network(n_columns: int, hidden_size: int, n_outputs: int, seed: int) -> nn.Sequential:
    """Return a network with weights of its own generator."""
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Linear(n_columns, hidden_size), nn.Linear(hidden_size, n_outputs)
    with torch.no_grad():
        for layer in layers:
            noise = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(noise / layer.in_features**0.5)
            layer.bias.zero_()
    return nn.Sequential(layers[0], nn.Tanh(), layers[1])


def layer_arrays(hidden: Any, output: Any, mean: FloatArray, scale: FloatArray) -> dict[str, NDArray[Any]]:
    """Return the arrays of two linear layers, as `network_outputs` reads them, and of its inputs."""
    arrays = {"mean": mean, "scale": scale}
    for name, layer in (("hidden", hidden), ("output", output)):
        arrays[f"{name}_weight"] = layer.weight.detach().numpy().T.copy()
        arrays[f"{name}_bias"] = layer.bias.detach().numpy().copy()
    return arrays


def network_outputs(arrays: dict[str, NDArray[Any]], observations: FloatArray) -> FloatArray:
    """Return a network's outputs ``(n, n_outputs)`` for observations ``(n, n_columns)``."""
    inputs = (observations - arrays["mean"]) / arrays["scale"]
    hidden = np.tanh(inputs @ arrays["hidden_weight"] + arrays["hidden_bias"])
    return np.asarray(hidden @ arrays["output_weight"] + arrays["output_bias"])
