import numpy as np
import pytest
import torch

from base_models import create_model
from base_models.networks.heat_map import forward_with_map, heat_map, is_two_step, map_kind


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("attention_cnn", 32),
        ("attention_cnn_cbam", 32),
        ("resnet18", 64),
        ("densenet121", 64),
        ("mobilenet_v2", 64),
    ],
)
def test_the_mean_of_a_class_activation_map_is_the_logit_against_normal(name, size):
    torch.manual_seed(0)
    network = create_model(name, n_classes=3).eval()
    images = torch.randn(2, 1, size, size)
    logits, embedding, found, _ = forward_with_map(network, images)
    with torch.no_grad():
        torch.testing.assert_close(logits, network(images))
    assert map_kind(network) == "activation"
    assert (len(embedding), found.shape[:2]) == (2, (2, 2))
    torch.testing.assert_close(found.mean(dim=(2, 3)), logits[:, 1:] - logits[:, :1], atol=1e-4, rtol=1e-4)


def test_a_lesion_map_is_shown_where_a_network_has_one():
    torch.manual_seed(0)
    network = create_model("efficientnet_lite0").eval()
    torch.nn.init.normal_(network.head.cells.weight)
    images = torch.randn(1, 1, 64, 64)
    logits, _, found, attention = forward_with_map(network, images)
    with torch.no_grad():
        scores, expected = network.forward_map(images)
    assert map_kind(network) == "lesion"
    assert attention is None
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(logits, scores.sum(dim=0))


def test_the_attention_of_an_attention_cnn_weights_its_features():
    network = create_model("attention_cnn").eval()
    images = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        _, logits = network.forward_map(images)
    attention = forward_with_map(network, images)[3]
    assert attention.shape == (2, 1, 4, 4)
    np.testing.assert_allclose(attention, 1 / (1 + np.exp(-logits.numpy())), rtol=1e-5)


@pytest.mark.parametrize("name", ["vgg11", "vit_b_32", "convnext_tiny"])
def test_a_network_that_does_not_end_in_mean_and_layer_has_no_map(name):
    with torch.device("meta"):
        network = create_model(name)
    assert not is_two_step(network)
    assert map_kind(network) is None


def test_two_classes_have_one_map():
    network = create_model("attention_cnn").eval()
    with torch.no_grad():
        features = network.last_features(torch.randn(1, 1, 32, 32))
        assert heat_map(network, features).shape == (1, 1, 4, 4)
