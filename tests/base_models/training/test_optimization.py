import pytest
import torch
import torchvision

from base_models import create_model
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.training.lightning_module import ImageClassifier, Length
from base_models.training.optimization import freeze_layers, is_kernel, layer_rates, layers_of_parameters

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
    training = TrainingConfig(learning_rate=0.5, first_layer_rate=0.1)
    module = ImageClassifier(network, training=training, length=Length(1, 1), seed=0)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates, decays = layer_rates(network, 0.1), {1: 0.0}
    found = {id(p): (group["initial_lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            rate, decay = found.pop(id(parameter))
            assert (rate, decay) == (pytest.approx(0.5 * rates[name]), decays.get(parameter.ndim, 0.05))
    assert not found


def test_only_members_with_weights_from_elsewhere_tell_layers_apart() -> None:
    training = TrainingConfig(frozen_layers=0.5, first_layer_rate=0.1)
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
