import pytest
import torch
from torchvision import models

from base_models import create_model, list_models
from base_models.networks.torchvision_classifier import TorchvisionClassifier, stem_of, torchvision_names

RGB = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))


def test_all_of_torchvisions_classifiers_are_listed() -> None:
    assert {"densenet121", "densenet169", "resnet18", "resnet50", "efficientnet_b3", "convnext_tiny"} <= set(
        torchvision_names()
    )
    assert set(torchvision_names()) < set(list_models())


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "densenet121",
        "efficientnet_b0",
        "mobilenet_v3_small",
        "squeezenet1_1",
        "shufflenet_v2_x0_5",
    ],
)
def test_head_and_stem_fit_classes_and_planes(name: str) -> None:
    for planes, classes in ((1, 2), (2, 5), (3, 3)):
        network = create_model(name, classes, planes).eval()
        assert stem_in(network) == planes
        with torch.no_grad():
            assert network(torch.zeros(2, planes, 64, 64)).shape == (2, classes)


def stem_in(network: torch.nn.Module) -> int:
    return next(m.in_channels for m in network.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0"])
def test_one_plane_gives_what_three_copies_of_it_would(name: str) -> None:
    torch.manual_seed(0)  # both draw the same kernels; the fitted stem moves no generator
    three = create_model(name, 2, 3).eval()
    torch.manual_seed(0)
    one = create_model(name, 2, 1).eval()
    grey = RGB[:, :1]
    with torch.no_grad():
        torch.testing.assert_close(one(grey), three(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_small_images_are_enlarged_on_request() -> None:
    torch.manual_seed(0)
    plain = create_model("resnet18", 2, 3).eval()
    torch.manual_seed(0)
    enlarging = create_model("resnet18", 2, 3, least_size=96).eval()
    enlarged = torch.nn.functional.interpolate(RGB, (96, 96), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(enlarging(RGB), plain(enlarged))
        torch.testing.assert_close(enlarging(enlarged), plain(enlarged))


def test_options_go_to_the_classifier_and_foreign_ones_are_refused() -> None:
    network = create_model("efficientnet_b0", dropout=0.7)
    assert 0.7 in {module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)}
    with pytest.raises(ValueError, match="'resnet18' does not take the options"):
        create_model("resnet18", dropout=0.7)


def test_a_network_without_a_stem_of_three_planes_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with a convolution of three planes"):
        stem_of(torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3)))


QUICK = {"convnext_tiny", "densenet121", "densenet169", "efficientnet_b3", "resnet18", "resnet50"}
"""Networks that are looked at in every run of the tests, the others in the slow one."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in torchvision_names()],
)
def test_every_classifier_maps_one_plane_to_logits(name: str) -> None:
    size = 299 if name == "inception_v3" else 224
    network = create_model(name, 3, 1).to("meta").eval()
    assert network(torch.empty(2, 1, size, size, device="meta")).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [
        ("densenet169", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_v2_s", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("efficientnet_v2_l", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_each_classifier_says_what_its_published_weights_have_seen(
    name: str, mean: tuple[float, ...], deviation: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        network = create_model(name)
    assert isinstance(network, TorchvisionClassifier)
    assert network.published_normalisation == (mean, deviation)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_that_scale_colours_themselves_get_what_they_make_of_them(name: str) -> None:
    """Torchvision's own network turns ImageNet's normalisation into the one that is told."""
    with torch.device("meta"):
        network = create_model(name)
        original = models.get_model(name, aux_logits=True, transform_input=True, init_weights=False)
    assert isinstance(network, TorchvisionClassifier)
    colours = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    known, told = ([(0.485, 0.456, 0.406), (0.229, 0.224, 0.225)], network.published_normalisation)
    by_known, by_told = (
        (colours - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
        for mean, deviation in (known, told)
    )
    torch.testing.assert_close(original._transform_input(by_known), by_told)
