import numpy as np

from agents.controls.dynamic_selection import output_profiles, region_arrays
from tests.agents.tables import noise_table

TABLE = noise_table(30, 0, n_classes=3, n_models=2)


def test_what_is_kept_of_a_table_agrees_with_a_loop():
    arrays = region_arrays(TABLE)
    for study in range(len(TABLE)):
        for model in range(2):
            verdict = max(range(3), key=lambda k, s=study, m=model: TABLE.probabilities[s, m, k])
            assert arrays["right"][study, model] == (verdict == TABLE.labels[study])
    np.testing.assert_array_equal(arrays["profiles"], output_profiles(TABLE))
    np.testing.assert_array_equal(arrays["body_parts"], TABLE.body_parts)
    assert not np.shares_memory(arrays["body_parts"], TABLE.body_parts)
