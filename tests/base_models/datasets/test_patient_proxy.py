import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base_models.datasets import patient_proxy
from tests.base_models.trees import picture


def _fingerprints(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.stack([patient_proxy.difference_hash(image) for image in images])
    return hashes, np.stack([patient_proxy.thumbnail(image) for image in images])


def test_near_duplicates_equal_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images = [picture(seed, shape=(80, 70)) for seed in range(30)]
    images += [
        np.clip(image.astype(int) + rng.integers(-2, 3, image.shape), 0, 255).astype(np.uint8)
        for image in images[:9]
    ]
    images.append(np.zeros((80, 70), np.uint8))
    hashes, thumbnails = _fingerprints(images)
    monkeypatch.setattr(patient_proxy, "MAX_HAMMING_DISTANCE", 60)
    monkeypatch.setattr(patient_proxy, "MIN_CORRELATION", 0.95)
    for block in (4, 2048):
        monkeypatch.setattr(patient_proxy, "BLOCK", block)
        found = patient_proxy.near_duplicates(hashes, thumbnails)
        expected = []
        for i in range(len(images)):
            for j in range(i + 1, len(images)):
                distance = sum(a != b for a, b in zip(hashes[i], hashes[j], strict=True))
                if (
                    distance <= 60
                    and np.corrcoef(thumbnails[i], thumbnails[j])[0, 1] >= 0.95
                    and thumbnails[j].any()
                ):
                    expected.append((i, j))
        assert found == expected
        assert {(i, i + 30) for i in range(9)} <= set(found)


def test_images_of_like_hashes_need_correlated_pixels() -> None:
    """Flat films with one marker each: their hashes are hardly a bit, their pixels have nothing in common."""
    films = []
    for row, column in ((10, 10), (40, 60), (80, 20), (10, 10)):
        film = np.zeros((105, 128), np.uint8)
        film[row : row + 6, column : column + 6] = 200
        films.append(film)
    hashes, thumbnails = _fingerprints(films)
    assert max(int(np.sum(a != b)) for a in hashes for b in hashes) <= patient_proxy.MAX_HAMMING_DISTANCE
    assert patient_proxy.near_duplicates(hashes, thumbnails) == [(0, 3)]


@pytest.mark.parametrize("block", [50, 256])  # few alike pairs a block, and more than are taken one by one
def test_many_chance_likenesses_are_compared_as_few_are(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_proxy, "BLOCK", block)
    rng = np.random.default_rng(0)
    hashes = rng.random((220, 256)) < 0.012
    thumbnails = rng.standard_normal((220, 64)).astype(np.float32)
    thumbnails[150:] = thumbnails[:70] + rng.uniform(0, 0.6, (70, 1)) * rng.standard_normal((70, 64))
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    distance = np.sum(hashes[:, None] != hashes[None], axis=2)
    correlation = thumbnails.astype(np.float64) @ thumbnails.astype(np.float64).T
    alike = np.triu(distance <= 10, k=1)
    assert alike.sum() > 20_000
    expected = [tuple(pair) for pair in np.argwhere(alike & (correlation >= 0.9)).tolist()]
    assert 10 < len(expected) < 70
    assert patient_proxy.near_duplicates(hashes, thumbnails) == expected


def test_thumbnails_have_mean_0_and_norm_1() -> None:
    values = patient_proxy.thumbnail(picture(3, shape=(90, 60)))
    np.testing.assert_allclose([values.mean(), np.linalg.norm(values)], [0, 1], atol=1e-6)
    assert not patient_proxy.thumbnail(np.full((50, 50), 7, np.uint8)).any()


def test_consecutive_pairs_need_adjacent_numbers_and_equal_keys() -> None:
    pairs = patient_proxy.consecutive_pairs([5, 3, 4, 7, 8], ["a", "a", "a", "b", "c"])
    assert sorted(pairs) == [(1, 2), (2, 0)]


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2)))
    )
)
def test_groups_equal_a_plain_search(case: tuple[int, list[tuple[int, int]]]) -> None:
    n_items, links = case
    group = list(range(n_items))
    for _ in range(n_items):  # plain relaxation: the smallest index that can be reached
        for i, j in links:
            group[i] = group[j] = min(group[i], group[j])
    np.testing.assert_array_equal(patient_proxy.group_by_links(n_items, links), group)
