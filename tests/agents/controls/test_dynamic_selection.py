import numpy as np
from sklearn.neighbors import NearestNeighbors

from agents.controls.dynamic_selection import nearest_studies, output_profiles, region_arrays
from tests.agents.tables import noise_table

TABLE = noise_table(30, 0, n_classes=3, n_models=2)


def test_what_is_kept_of_a_table_agrees_with_a_loop():
    arrays = region_arrays(TABLE)
    for study in range(len(TABLE)):
        for model in range(2):
            predicted = max(range(3), key=lambda k, s=study, m=model: TABLE.probabilities[s, m, k])
            assert arrays["right"][study, model] == (predicted == TABLE.labels[study])
    np.testing.assert_array_equal(arrays["profiles"], output_profiles(TABLE))
    np.testing.assert_array_equal(arrays["body_parts"], TABLE.body_parts)
    assert not np.shares_memory(arrays["body_parts"], TABLE.body_parts)


def test_neighbours_agree_with_scikit_learn_body_part_by_body_part():
    generator = np.random.default_rng(0)
    learned, queries = generator.random((300, 4), np.float32), generator.random((50, 4), np.float32)
    parts, asked = generator.integers(0, 3, 300), generator.integers(0, 3, 50)
    nearest = nearest_studies(learned, parts, queries, asked, 7)
    for part in range(3):
        pool = np.flatnonzero(parts == part)
        expected = NearestNeighbors(n_neighbors=7).fit(learned[pool]).kneighbors(queries[asked == part])[1]
        np.testing.assert_array_equal(nearest[asked == part], pool[expected])


def test_a_part_with_too_few_studies_is_served_from_all():
    learned = np.arange(5, dtype=np.float32)[:, None]
    parts = np.array([0, 0, 0, 1, 1])
    queries = np.array([[3.9], [3.9], [0.1]], dtype=np.float32)
    nearest = nearest_studies(learned, parts, queries, np.array([1, 0, 9]), 3)
    assert nearest.tolist() == [[4, 3, 2], [2, 1, 0], [0, 1, 2]]
    assert nearest_studies(learned, parts, queries, np.array([1, 0, 9]), 50).shape == (3, 5)


def test_profiles_leave_out_what_the_others_determine():
    table = noise_table(6, 0, n_classes=3, n_models=2)
    expected = [[p[1], p[2], q[1], q[2]] for p, q in table.probabilities]
    np.testing.assert_array_equal(output_profiles(table), expected)
