import sys

import pytest
import timm
import torch

from base_models import create_model
from base_models.networks.pretrained import fitted_state
from mura_env.errors import UserFileError


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"'timm:resnet10t', but it is not installed; .*\[timm\]"):
        create_model("timm:resnet10t")


def test_weights_that_cannot_be_downloaded_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("timm:resnet10t")

    def refused(*_: object, **__: object) -> None:
        raise OSError("no connection\nand much more")

    monkeypatch.setattr(timm, "create_model", refused)
    with pytest.raises(UserFileError, match=r"timm's weights of 'resnet10t', but: no connection; download"):
        network.published_state()


def test_published_weights_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("timm:resnet10t", 2, 1)
    create = timm.create_model
    published = create("resnet10t", pretrained=False)  # as a download would give it
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: published if pretrained else None)
    state = fitted_state(network, network.published_state(), "it")
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["model.fc.weight", "model.fc.bias"], [])
    images = torch.rand(2, 1, 64, 64)
    features = network.eval().model.forward_features(images)
    expected = published.eval().forward_features(images.expand(-1, 3, -1, -1))
    torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def test_a_model_of_timm() -> None:
    for name in ("resnet10t", "resnet10t.c3_in1k"):
        network = create_model(f"timm:{name}", 3, 1).eval()
        assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 3)
        assert network.published_normalisation == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(ValueError, match=r"got 'resnet10t\.imagenet'"):
        create_model("timm:resnet10t.imagenet")
