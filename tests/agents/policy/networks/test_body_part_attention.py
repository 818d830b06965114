import numpy as np
import pytest
import torch

from agents.policy.networks.body_part_attention import BodyPartAttention
from mura_env import ObservationLayout, Predictions, observe
from tests.agents.tables import noise_table

TABLE = noise_table(40, 0)
NAMED = Predictions.from_arrays(
    TABLE.logits, TABLE.labels, TABLE.body_parts, body_part_names=["XR_SHOULDER", "hand", "elbow"]
)


def shaken(beta: float) -> BodyPartAttention:
    network = BodyPartAttention(
        ObservationLayout.of(NAMED), 3, 2, 4, body_parts=("shoulder", "elbow", "knee"), beta=beta
    )
    network.standardise(NAMED)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return network


def scores(network: BodyPartAttention, observations: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observations).expand(2, -1, -1)).numpy()


def test_chosen_parts_have_heads_and_each_study_is_routed_by_its_own():
    network = shaken(0.5)
    assert network.own_parts == [0, 2]
    before = scores(network, observe(NAMED))
    with torch.no_grad():
        network.own_output[:, :8] += 1.0  # the shoulder's head
    moved = (scores(network, observe(NAMED)) != before).any(axis=(0, 2))
    np.testing.assert_array_equal(moved, NAMED.body_parts == 0)


@pytest.mark.parametrize("beta", [0.0, 0.25, 1.0])
def test_beta_blends_the_common_with_the_own_head(beta):
    network, common, own = shaken(beta), shaken(0.0), shaken(1.0)
    observations = observe(NAMED)
    share = np.where(NAMED.body_parts == 1, 0.0, beta)[None, :, None]
    expected = (1 - share) * scores(common, observations) + share * scores(own, observations)
    np.testing.assert_allclose(scores(network, observations), expected, atol=1e-5)


def test_a_part_never_seen_gets_the_common_head():
    observations = observe(NAMED)
    observations[:, ObservationLayout.of(NAMED).columns("body_part")] = 0.0
    np.testing.assert_array_equal(scores(shaken(1.0), observations), scores(shaken(0.0), observations))


def test_a_table_without_the_chosen_parts_gets_the_common_head_alone():
    network = BodyPartAttention(ObservationLayout.of(TABLE), 3, 2, 4, body_parts=("shoulder",))
    assert network.own_parts == []
    assert (scores(network, observe(TABLE)) == 0).all()
    assert network.subset(slice(1)).n_policies == 1
