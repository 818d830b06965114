import pytest
import torch

from base_models import create_model
from base_models.networks.attention_cnn import AttentionCNN


def test_the_published_form_has_700547_parameters() -> None:
    network = create_model("attention_cnn", n_classes=2, in_channels=3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 700_547


def test_the_parameter_count_equals_a_count_by_hand() -> None:
    def conv(inputs: int, outputs: int, kernel: int) -> int:
        return kernel * kernel * inputs * outputs + outputs

    for blocks, width, planes, classes in ((1, 8, 1, 2), (3, 4, 2, 5)):
        expected, channels = conv(planes, width, 3) + 2 * width, width
        for _ in range(3):
            for block in range(blocks):
                inputs = channels if block == 0 else 2 * channels
                outputs = 2 * channels
                expected += conv(inputs, outputs, 3) + conv(outputs, outputs, 3) + 4 * outputs
                if block == 0:
                    expected += conv(inputs, outputs, 1) + 2 * outputs
            channels *= 2
        expected += (
            conv(channels, channels // 2, 1) + conv(channels // 2, 1, 1) + channels * classes + classes
        )
        network = create_model("attention_cnn", classes, planes, blocks=blocks, width=width)
        assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_logits_have_the_right_shape_at_any_size() -> None:
    network = create_model("attention_cnn", n_classes=3, in_channels=1, width=4).eval()
    for shape in ((16, 16), (31, 45)):
        assert network(torch.zeros(2, 1, *shape)).shape == (2, 3)


def test_attention_multiplies_the_features() -> None:
    network = AttentionCNN(in_channels=1, width=4).eval()
    images = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        network.attention[2].weight.zero_()
        network.attention[2].bias.fill_(-40.0)  # an attention of nothing leaves the bias of the last layer
        torch.testing.assert_close(network(images), network.fc.bias.expand(2, 2))


@pytest.mark.parametrize("name", ["attention_cnn_se", "attention_cnn_cbam"])
def test_the_later_forms_add_their_attention_to_the_plain_one(name: str) -> None:
    plain = create_model("attention_cnn", n_classes=2, in_channels=3)
    network = create_model(name, n_classes=2, in_channels=3)
    assert {key for key in network.state_dict() if not key.startswith(("se", "cbam"))} == set(
        plain.state_dict()
    )
    added = {"attention_cnn_se": 0, "attention_cnn_cbam": 2 * 128 * 8 + 2 * 49}[name]
    if name == "attention_cnn_se":
        for channels in (32, 64, 128):
            hidden = channels // 16
            added += channels * hidden + hidden + hidden * channels + channels
    assert sum(parameter.numel() for parameter in network.parameters()) == 700_547 + added


def test_the_later_forms_work_at_small_widths_and_sizes() -> None:
    for name in ("attention_cnn_se", "attention_cnn_cbam"):
        network = create_model(name, n_classes=3, in_channels=1, width=2, blocks=1).eval()
        assert network(torch.zeros(2, 1, 16, 24)).shape == (2, 3)


def test_the_dropout_factor_scales_all_probabilities() -> None:
    def probabilities(factor: float) -> list[float]:
        network = AttentionCNN(dropout=factor)
        return [module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)]

    assert probabilities(1.0) == [0.3, 0.4, 0.4, 0.5]
    assert probabilities(0.5) == [0.15, 0.2, 0.2, 0.25]


@pytest.mark.parametrize(
    "options", [{"blocks": 0}, {"width": 0}, {"dropout": 2.0}, {"dropout": -0.1}, {"blocks": 10**400}]
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"expected (blocks|width|dropout) in the range"):
        create_model("attention_cnn", **options)
