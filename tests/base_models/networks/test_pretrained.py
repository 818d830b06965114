from dataclasses import asdict
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from base_models import create_model
from base_models.config import MemberConfig
from base_models.members import training_format
from base_models.networks.input_format import GREY as GREY_FORMAT
from base_models.networks.input_format import IMAGENET, InputFormat
from base_models.networks.pretrained import (
    fitted_state,
    learned_format,
    pretrained_state_dict,
    read_state_dict,
)
from base_models.storage import save_tensors
from mura_env.errors import UserFileError


def _load(network: torch.nn.Module, state: dict[str, torch.Tensor], source: str) -> list[str]:
    """Load fitted weights and return the names of the tensors that keep their fresh values."""
    fitted = fitted_state(network, state, source)
    network.load_state_dict(fitted, strict=False)
    return [name for name in network.state_dict() if name not in fitted and "num_batches" not in name]


GREY = torch.rand((2, 1, 48, 48), generator=torch.Generator().manual_seed(0))


def test_a_file_of_torchvision_fills_all_but_the_head(tmp_path: Path) -> None:
    source = torchvision.models.resnet18(num_classes=1000).eval()
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    network = create_model("resnet18", 2, 1).eval()
    head = network.model.fc.weight.clone()
    fresh = _load(network, read_state_dict(tmp_path / "resnet18.pth"), "resnet18.pth")
    assert fresh == ["model.fc.weight", "model.fc.bias"]
    assert torch.equal(network.model.fc.weight, head)
    source.fc, network.model.fc = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(network(GREY), source(GREY.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_weights_of_this_package_with_the_same_classes_fill_everything(tmp_path: Path) -> None:
    source = create_model("attention_cnn", 2, 1, width=4).eval()
    save_file(source.state_dict(), tmp_path / "fold0.safetensors")
    network = create_model("attention_cnn", 2, 1, width=4).eval()
    assert _load(network, read_state_dict(tmp_path / "fold0.safetensors"), "it") == []
    for name, tensor in source.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)
    other = create_model("attention_cnn", 5, 1, width=4)
    assert _load(other, source.state_dict(), "it") == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    "wrapped", ["module.", "_orig_mod.", "module._orig_mod.", "net.", "backbone.", "model.net."]
)
@pytest.mark.parametrize("name", ["resnet18", "attention_cnn"])
def test_what_a_wrapper_puts_before_every_name_is_left_out(tmp_path: Path, wrapped: str, name: str) -> None:
    source = create_model(name, 2, 1)
    plain = {key.removeprefix("model."): tensor for key, tensor in source.state_dict().items()}
    torch.save({"state_dict": {wrapped + key: tensor for key, tensor in plain.items()}}, tmp_path / "w.pth")
    network = create_model(name, 2, 1)
    assert _load(network, read_state_dict(tmp_path / "w.pth"), "w.pth") == []
    for key, tensor in source.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor)


def test_a_prefix_does_not_make_another_network_fit() -> None:
    for state in ({"net.weight": torch.ones(2)}, {"weight": torch.ones(2)}, {"net.": torch.ones(2)}):
        with pytest.raises(ValueError, match="it is another network's"):
            fitted_state(create_model("resnet18", 2, 1), state, "w.pth")


def test_the_spelling_of_the_densenet_download_is_understood() -> None:
    source = torchvision.models.densenet121(num_classes=1000).eval()
    spelt = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in source.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in spelt
    network = create_model("densenet121", 2, 3)
    assert _load(network, spelt, "it") == [
        "model.classifier.weight",
        "model.classifier.bias",
    ]
    for name, tensor in source.features.state_dict().items():
        assert torch.equal(network.model.features.state_dict()[name], tensor)


def test_weights_of_another_network_are_refused() -> None:
    network = create_model("attention_cnn", 2, 1, width=4)
    with pytest.raises(ValueError, match=r"in wide\.pth, .*shape mismatch of 'conv1\.weight'"):
        _load(network, create_model("attention_cnn", width=8).state_dict(), "wide.pth")
    with pytest.raises(ValueError, match="missing key 'conv1"):
        _load(network, {"encoder.weight": torch.ones(1)}, "foreign.pth")
    state = {**network.state_dict(), "encoder.weight": torch.ones(1)}
    with pytest.raises(ValueError, match=r"unexpected key 'encoder\.weight'"):
        _load(network, state, "more.pth")


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], {}])
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth"):
        read_state_dict(tmp_path / "x.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of whatever a damaged pickle names
def test_damaged_files_are_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a.weight": torch.ones(3, 2)}, path, _use_new_zipfile_serialization=zipped)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            read_state_dict(path)  # a change of a value goes unnoticed in this format
        except ValueError as error:
            assert "x.pth" in str(error)  # noqa: PT017  # any other kind of error fails the test
            refused += 1
    assert refused > 20


def test_pretrained_weights_are_torchvisions_own(monkeypatch: pytest.MonkeyPatch) -> None:
    source = torchvision.models.resnet18(num_classes=1000)
    asked = []

    def download(url: str, **options: object) -> dict[str, torch.Tensor]:
        asked.append(url)
        return source.state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    network = create_model("resnet18", 2, 1)
    _load(network, pretrained_state_dict(network), "it")
    assert asked == [torchvision.models.ResNet18_Weights.DEFAULT.url]
    assert torch.equal(network.model.layer1[0].conv1.weight, source.layer1[0].conv1.weight)


def test_offline_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, **options: object) -> dict[str, torch.Tensor]:
        raise URLError("no such host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    with pytest.raises(UserFileError, match=r"'resnet18' from https://.*no such host.*--init-weights FILE"):
        pretrained_state_dict(create_model("resnet18"))
    with pytest.raises(ValueError, match="expected a network with published weights"):
        pretrained_state_dict(create_model("attention_cnn"))


@pytest.mark.parametrize("name", ["attention_cnn", "attention_cnn_se", "attention_cnn_cbam"])
def test_the_head_of_every_attention_cnn_is_its_last_layer(name: str) -> None:
    source, target = create_model(name, 3, width=2), create_model(name, 2, width=2)
    fresh = _load(target, source.state_dict(), "here")
    assert fresh == ["fc.weight", "fc.bias"]
    torch.testing.assert_close(target.attention[0].weight, source.attention[0].weight)


def test_weights_for_colours_go_on_with_the_normalisation_that_they_have_learned(tmp_path: Path) -> None:
    """One plane by `IMAGENET.one_plane` says nearly what three planes by ImageNet's say to the original."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        source = torchvision.models.resnet18(num_classes=1000).eval()
    with torch.no_grad():  # kernels that tell no colours apart: on a grey image only the scales differ
        source.conv1.weight.copy_(source.conv1.weight[:, :1].expand(-1, 3, -1, -1).clone())
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    network = create_model("resnet18", 2, 1).eval()
    _load(network, source.state_dict(), "it")
    source.fc, network.model.fc = torch.nn.Identity(), torch.nn.Identity()
    images = (GREY[:, 0] * 255).to(torch.uint8)
    assert learned_format(network, tmp_path / "resnet18.pth") == IMAGENET.one_plane
    planes = {
        name: format_.planes(images)
        for name, format_ in (("known", IMAGENET.one_plane), ("other", GREY_FORMAT))
    }
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    colours = ((images[:, None] / 255).expand(-1, 3, -1, -1) - mean) / deviation
    with torch.no_grad():
        expected = source(colours)
        off = {name: float((network(of) - expected).norm() / expected.norm()) for name, of in planes.items()}
    assert off["known"] < 0.005
    assert off["other"] > 0.05


def test_weights_of_grey_radiographs_keep_this_packages_normalisation(tmp_path: Path) -> None:
    network = create_model("attention_cnn", 2, 1, width=3)  # its inner kernels have three planes
    save_file(network.state_dict(), tmp_path / "foreign.safetensors")
    assert learned_format(network, tmp_path / "foreign.safetensors") == GREY_FORMAT
    # what a fit says that began with weights for colours
    facts = {"input_format": asdict(IMAGENET.one_plane)}
    save_tensors(network.state_dict(), tmp_path / "fold0.safetensors", facts)
    assert learned_format(network, tmp_path / "fold0.safetensors") == IMAGENET.one_plane


def test_weights_that_have_learned_another_normalisation_go_on_with_that(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.save(torchvision.models.googlenet(init_weights=False).state_dict(), tmp_path / "x.pth")
        network = create_model("googlenet", 2, 1)
    assert learned_format(network, tmp_path / "x.pth") == InputFormat((0.5,), (0.5,))
    for choices in ({"pretrained": True}, {"init_weights": str(tmp_path / "x.pth")}):
        member = MemberConfig("a", "googlenet", **choices)
        assert training_format(member) == InputFormat((0.5,), (0.5,))
