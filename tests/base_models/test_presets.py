import json
from dataclasses import asdict

import pytest
import torch

from base_models.members import new_network
from base_models.presets import PRESETS, for_gpu


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


@pytest.mark.parametrize("name", ["fast", "full"])
def test_a_gpu_takes_larger_images_and_batches_and_rates_that_fit_them(name: str) -> None:
    preset, larger = PRESETS[name], for_gpu(PRESETS[name])
    assert larger.training.batch_size == 2 * preset.training.batch_size
    for before, after in zip(preset.members, larger.members, strict=True):
        ratio = larger.training_of(after).learning_rate / preset.training_of(before).learning_rate
        assert ratio == pytest.approx(2**0.5)
        assert after.image_size % 32 == 0
        assert (after.image_size > before.image_size) == before.pretrained
    assert larger.cached_side == larger.cache_size > max(member.image_size for member in larger.members)
