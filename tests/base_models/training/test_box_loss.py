"""Boxes of lesions teach a network where to look."""

from dataclasses import replace

import numpy as np
import torch

from base_models.config import TrainingConfig
from base_models.data.lesion_boxes import LesionBoxes
from base_models.members import seeded_network
from base_models.networks.input_format import GREY
from base_models.training.trainer import fit_network
from tests.base_models.training.small_fits import MEMBER, fit


def _marked(n: int = 64, side: int = 48) -> tuple[np.ndarray, np.ndarray, LesionBoxes]:
    """Noise with a faint blot in every second image, whose place the boxes tell."""
    rng, labels = np.random.default_rng(5), np.arange(n) % 2
    images = rng.integers(60, 140, (n, side, side)).astype(np.uint8)
    corners = []
    for row in np.flatnonzero(labels):
        y, x = rng.integers(2, side - 12, 2)
        images[row, y : y + 9, x : x + 9] += 60
        corners.append(np.array([x, y, x + 9, y + 9]) / side)
    return images, labels, LesionBoxes(np.flatnonzero(labels), np.array(corners, np.float32))


def test_boxes_teach_the_attention_where_to_look() -> None:
    images, labels, boxes = _marked()
    member = replace(MEMBER, image_size=48, epochs=20, options={"blocks": 1, "width": 6, "dropout": 0.0})
    training = TrainingConfig(
        batch_size=16, augmentation="none", learning_rate=5e-3, precision="fp32", box_loss=1.0
    )
    hits = []
    for taught in (None, boxes):
        network = seeded_network(member, 2, 0)
        fit_network(
            network,
            images,
            rows=np.arange(64),
            labels=labels,
            weights=np.ones(64, np.float32),
            member=member,
            training=training,
            seed=0,
            boxes=taught,
        )
        with torch.no_grad():
            _, cells = network.forward_map(GREY.planes(torch.from_numpy(images)))
        n_right = 0
        for row, corners in zip(boxes.rows, boxes.corners, strict=True):
            y, x = np.unravel_index(int(cells[row, 0].argmax()), cells.shape[2:])
            centre = (np.array([x, y]) + 0.5) / cells.shape[3]
            n_right += bool((centre >= corners[:2] - 1 / 12).all() and (centre <= corners[2:] + 1 / 12).all())
        hits.append(n_right / len(boxes.rows))
    assert hits[1] > 0.8
    assert hits[0] < hits[1]


def test_a_network_without_a_map_and_a_data_set_without_boxes_train_as_they_did() -> None:
    plain, losses = fit(1)
    again, others = fit(1, TrainingConfig(batch_size=8, box_loss=1.0))
    assert losses == others
    _, without = fit(1, network=torch.nn.Sequential(seeded_network(MEMBER, 2, 1)))  # which has no map
    assert losses == without
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
