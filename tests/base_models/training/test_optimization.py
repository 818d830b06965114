import numpy as np
import pytest
import torch
import torchvision

from base_models import create_model
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.training.optimization import (
    SCHEDULES,
    constant,
    cosine,
    freeze_layers,
    is_kernel,
    layer_rates,
    layers_of_parameters,
    moving_average,
    one_cycle,
)
from base_models.training.trainer import create_optimizer

TINY = torch.nn.Sequential(
    torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Conv2d(2, 2, 3), torch.nn.Linear(2, 2)
)


def test_a_layer_is_a_kernel_and_the_vectors_behind_it() -> None:
    assert list(layers_of_parameters(TINY).values()) == [0, 0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", ["attention_cnn_se", "resnet18", "densenet121"])
def test_layers_go_from_the_stem_to_the_head(name: str) -> None:
    network = create_model(name, 2, 1)
    layers = layers_of_parameters(network)
    assert list(layers.values()) == sorted(layers.values())
    assert [key for key, layer in layers.items() if layer == max(layers.values())] == [
        key
        for key in layers
        if key.endswith(("fc.weight", "fc.bias", "classifier.weight", "classifier.bias"))
    ]


def test_rates_grow_by_one_factor_from_the_first_layer_to_the_head() -> None:
    rates = layer_rates(TINY, 0.01)
    assert rates["0.weight"] == rates["1.bias"] == pytest.approx(0.01)
    assert rates["2.weight"] == pytest.approx(0.1)
    assert rates["3.weight"] == 1.0
    assert set(layer_rates(TINY, 1.0).values()) == {1.0}


def test_frozen_layers_and_their_batch_norm_stand_still() -> None:
    network = create_model("attention_cnn", width=2, blocks=1).train()
    freeze_layers(network, 0.4)
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    layers = layers_of_parameters(network)
    assert frozen == {name for name, layer in layers.items() if layer < int(0.4 * (max(layers.values()) + 1))}
    assert not network.bn1.training
    assert network.layer3[0].bn2.training
    freeze_layers(network, 1.0)
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learning == ["fc.weight", "fc.bias"]


def test_batch_norm_without_scales_goes_with_the_layer_before_it() -> None:
    def bare() -> torch.nn.BatchNorm2d:
        return torch.nn.BatchNorm2d(2, affine=False)

    for share, expected in ((0.0, [True, True]), (0.4, [False, True]), (1.0, [False, False])):
        layers = [torch.nn.Conv2d(1, 2, 3), bare(), torch.nn.Conv2d(2, 2, 3), bare(), torch.nn.Linear(2, 2)]
        network = torch.nn.Sequential(*layers).train()
        freeze_layers(network, share)
        assert [network[1].training, network[3].training] == expected


def test_the_optimizer_takes_the_rates_and_leaves_frozen_layers_out() -> None:
    network = create_model("attention_cnn", width=2, blocks=1)
    freeze_layers(network, 0.2)
    training = TrainingConfig(learning_rate=0.5, layer_decay=0.1)
    groups = create_optimizer(network, training).param_groups
    rates, decays = layer_rates(network, 0.1), {1: 0.0}
    found = {id(p): (group["peak_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate, decay = found.pop(id(parameter))
            assert (rate, decay) == (pytest.approx(0.5 * rates[name]), decays.get(parameter.ndim, 0.05))
    assert not found


def test_only_pretrained_members_have_layer_wise_settings() -> None:
    training = TrainingConfig(frozen_layers=0.5, layer_decay=0.1)
    members = MemberConfig("a"), MemberConfig("b", init_weights="w.pth"), MemberConfig("c", pretrained=True)
    config = EnsembleConfig(members, training)
    assert [config.training_of(member) for member in members] == [TrainingConfig(), training, training]


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_t", "swin_v2_t", "vit_b_32", "maxvit_t"])
def test_only_weights_of_layers_decay_and_begin_a_layer(name: str) -> None:
    """Scales, tokens, positions and bias tables have two axes or more, too."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name)
    own = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.MultiheadAttention)
    expected = {
        f"{prefix}.{key}"
        for prefix, module in network.named_modules()
        if isinstance(module, own)
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.ndim > 1
    }
    parameters = dict(network.named_parameters())
    assert {key for key in parameters if is_kernel(key, parameters[key])} == expected
    assert len(expected) < sum(parameter.ndim > 1 for parameter in parameters.values())


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize(("n_steps", "warm_up"), [(100, 0.25), (4, 0.25), (1, 0.5), (2, 0.9)])
def test_the_learning_rate_rises_to_its_peak_and_falls(name: str, n_steps: int, warm_up: float) -> None:
    rates = [SCHEDULES[name](step, n_steps, warm_up) for step in range(n_steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    peak = int(np.argmax(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[0] == pytest.approx(0.04)


def test_the_peaks_are_where_they_should_be() -> None:
    assert one_cycle(25, 100, 0.25) == cosine(10, 100, 0.25) == 1.0
    assert one_cycle(100, 100, 0.25) == pytest.approx(0)
    assert cosine(55, 100, 0.25) == pytest.approx(0.5)
    assert cosine(5, 100, 0.25) == pytest.approx(0.52)
    assert constant(5, 100, 0.25) == cosine(5, 100, 0.25)
    assert {constant(step, 100, 0.25) for step in range(10, 101)} == {1.0}


def test_only_matrices_and_kernels_decay() -> None:
    network = create_model("attention_cnn", width=4, blocks=1)
    decayed, kept = create_optimizer(network, TrainingConfig()).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2, 4}
    assert {p.ndim for p in kept["params"]} == {1}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(network.parameters()))


def test_the_moving_average_follows_its_recursion_with_warm_up() -> None:
    network = torch.nn.BatchNorm1d(1)
    average = moving_average(network, decay=0.3)
    expected = 1.0
    for step, value in enumerate((2.0, -1.0, 4.0, 0.5, 3.0), start=1):
        with torch.no_grad():
            network.weight.fill_(value)
            network.num_batches_tracked.add_(1)
        average.update_parameters(network)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.module.weight.tolist() == pytest.approx([expected], rel=1e-6)
    assert int(average.module.num_batches_tracked) == 5
    assert network.weight.tolist() == [3.0]


def test_a_moving_average_resumes_at_its_step() -> None:
    network = torch.nn.Linear(2, 2)
    whole = moving_average(torch.nn.Linear(2, 2), decay=0.9)
    whole.update_parameters(network)
    resumed = moving_average(torch.nn.Linear(2, 2), decay=0.9, steps=1)
    resumed.module.load_state_dict(whole.module.state_dict())
    for average in (whole, resumed):
        average.update_parameters(network)
    for tensor, other in zip(whole.module.parameters(), resumed.module.parameters(), strict=True):
        assert torch.equal(tensor, other)
        assert tensor is not other


def test_a_head_of_several_layers_is_one() -> None:
    network = create_model("efficientnet_lite0").train()
    freeze_layers(network, 1.0)
    learning = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    assert learning == ["head.fc.weight", "head.fc.bias", "head.cells.weight", "head.cells.bias"]
    rates = layer_rates(network, 0.1)
    assert [rates[name] for name in learning] == [1.0] * 4
    assert max(rate for name, rate in rates.items() if name not in learning) < 1
