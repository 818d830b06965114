import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mura_env import Predictions, observe
from mura_env.combination import Combine
from mura_env.observations import StudyColumns
from tests.mura_env.tables import random_table, tables


@given(tables(), st.sampled_from(["probabilities", "logits"]), st.booleans(), st.integers(0, 99))
def test_both_layouts_gather_what_the_table_holds(
    table: Predictions, combine: Combine, by_row: bool, seed: int
) -> None:
    studies = np.random.default_rng(seed).integers(0, len(table), 11)
    with pytest.MonkeyPatch.context() as patch:
        if by_row:
            patch.setattr("mura_env.observations.COLUMNS_UP_TO", 0)
        columns = StudyColumns(table, combine)
    observations, batch = columns.gather(studies)
    np.testing.assert_array_equal(observations, observe(table)[studies])
    scores = table.logits if combine == "logits" else table.probabilities
    np.testing.assert_allclose(batch.scores, scores[studies].transpose(1, 2, 0), atol=1e-6)
    if combine == "logits":
        np.testing.assert_array_equal(batch.scores, scores[studies].transpose(1, 2, 0))
    np.testing.assert_array_equal(batch.labels, table.labels[studies])
    assert batch.labels.dtype == np.int64
    assert batch.scores.flags.c_contiguous
    assert observations.flags.c_contiguous
    observations[:] = 7  # a new array: the columns stay as they are
    np.testing.assert_array_equal(columns.gather(studies)[0], observe(table)[studies])


def test_environments_on_a_table_share_its_columns_while_it_lives() -> None:
    table = random_table()
    first = StudyColumns.of(table, "logits")
    assert StudyColumns.of(table, "logits") is first
    assert StudyColumns.of(table, "probabilities") is not first
    gone = weakref.ref(first)
    del first, table
    gc.collect()
    assert gone() is None
