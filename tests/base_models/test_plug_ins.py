"""A network and a data set of another package have all rights of the project's own."""

import sys
from pathlib import Path

import numpy as np
import pytest

from base_models import create_model, list_models, load_members
from base_models.config import EnsembleConfig, MemberConfig, TrainingConfig
from base_models.datasets import DATASETS, list_datasets, open_dataset
from base_models.ensemble import train_ensemble
from base_models.members import forward_flops, load_trained_members, meta_network, training_format
from base_models.networks import NETWORKS
from base_models.networks.registry import fresh_format
from tests.base_models.trees import write_mura

SOURCE = '''
import torch
from base_models.datasets import DatasetReader, open_dataset, register_dataset
from base_models import register_model
from base_models.networks.input_format import IMAGENET

@register_model("three_planes")
class ThreePlanes(torch.nn.Module):
    """A convolution on three planes, as ImageNet's networks take them."""

    input_format = IMAGENET

    def __init__(self, n_classes, in_channels, width=4):
        super().__init__()
        self.stem = torch.nn.Conv2d(in_channels, width, 3, 2, 1)
        self.fc = torch.nn.Linear(width, n_classes)

    def forward(self, images):
        return self.fc(torch.relu(self.stem(images)).mean(dim=(2, 3)))

def stretched(n_classes, in_channels):
    return ThreePlanes(n_classes, in_channels)

stretched.input_format = IMAGENET.__class__(aspect="stretched")

@register_dataset("wrapped")
class Wrapped(DatasetReader):
    """MURA in a folder of another name."""

    looks_for = "a folder inside.here"

    @staticmethod
    def find_root(path):
        return path / "inside.here" if (path / "inside.here").is_dir() else None

    @staticmethod
    def read(root, seed):
        return open_dataset(root, seed, check=False)
'''
ENTRY_POINTS = """[mura.networks]
three_planes = films_and_nets:ThreePlanes
stretched_planes = films_and_nets:stretched
broken_network = films_and_nets_that_do_not_exist:Network
[mura.datasets]
wrapped = films_and_nets:Wrapped
broken_data = films_and_nets_that_do_not_exist:Data
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package of one module where an installer would."""
    site = tmp_path / "site"
    metadata = site / "films_and_nets-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "films_and_nets.py").write_text(SOURCE)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: films-and-nets\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "films_and_nets", raising=False)
    for registry in (NETWORKS, DATASETS):
        monkeypatch.setattr(registry, "_items", dict(registry._items))


@pytest.mark.usefixtures("installed")
def test_a_network_of_another_package_is_listed_checked_trained_saved_and_loaded(tmp_path: Path) -> None:
    assert "three_planes" in list_models()
    assert "films_and_nets" not in sys.modules
    member = MemberConfig("own", "three_planes", image_size=16, epochs=1, options={"width": 3})
    planes = training_format(member)
    assert planes.in_channels == 3
    assert forward_flops(meta_network(member, 2), member) == 2 * (8 * 8 * 3 * 3 * 9 + 3 * 2)
    with pytest.raises(ValueError, match="does not take the options"):
        create_model("three_planes", blocks=2)

    dataset = open_dataset(write_mura(tmp_path / "data"))
    config = EnsembleConfig(members=(member,), training=TrainingConfig(batch_size=8), folds=2, jobs=1)
    train_ensemble(dataset, config, tmp_path / "run")
    (loaded,) = load_trained_members(tmp_path / "run")
    assert loaded.input_format == planes
    networks = load_members(tmp_path / "run")
    assert [type(network).__name__ for network in networks] == ["ThreePlanes"] * 2
    assert networks[0].stem.weight.shape == (3, 3, 3, 3)


@pytest.mark.usefixtures("installed")
def test_what_is_wrong_with_a_plug_in_is_told_with_its_package() -> None:
    with pytest.raises(ValueError, match=r"network 'broken_network' from .* of the package films-and-nets"):
        create_model("broken_network")
    with pytest.raises(ValueError, match="'stretched_planes' to be padded, got 'stretched'"):
        fresh_format("stretched_planes")


@pytest.mark.usefixtures("installed")
def test_a_data_set_of_another_package_is_recognised(tmp_path: Path) -> None:
    assert list_datasets() == ["FracAtlas", "MURA", "broken_data", "studies.csv", "wrapped"]
    expected = open_dataset(write_mura(tmp_path / "data" / "inside.here"))  # whatever is broken elsewhere
    found = open_dataset(tmp_path / "data")
    assert found.studies == expected.studies
    assert np.unique([study.split for study in found.studies]).tolist() == ["test", "train"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ValueError, match=r"wrapped: a folder inside\.here.*broken_data: .*package films-and-nets"
    ):
        open_dataset(tmp_path / "empty")
