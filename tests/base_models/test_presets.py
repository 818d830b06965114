import json
from dataclasses import asdict

import pytest
import torch

from base_models.members import new_network
from base_models.presets import PRESETS


@pytest.mark.parametrize("name", ["demo", "fast", "full"])
def test_presets_have_different_members_that_can_be_built(name: str) -> None:
    preset = PRESETS[name]
    json.dumps(asdict(preset))
    assert preset.training.augmentation == "moderate"
    assert preset.training.augmentation_share > 0
    assert len(preset.members) >= 3
    looks = {(m.network, m.image_size, tuple(sorted(m.options.items()))) for m in preset.members}
    assert len(looks) == len(preset.members), "members that differ by seed alone have nothing to weight"
    for member in preset.members:
        with torch.device("meta"):
            network = new_network(member, 2)
            assert network(torch.empty(2, 1, member.image_size, member.image_size)).shape == (2, 2)
