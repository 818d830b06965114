import numpy as np
import pytest

from agents import make_agent
from tests.agents.tables import switching_table


def test_each_part_has_the_member_that_is_right_most_often_there():
    table = switching_table(2_000, 0)
    weights = make_agent("best_per_body_part").fit(table).weights(table)
    right = table.logits.argmax(axis=2) == table.labels[:, None]
    for part in range(7):
        chosen = table.body_parts == part
        best = max(range(3), key=lambda member, rows=chosen: right[rows, member].sum())
        assert (weights[chosen] == np.eye(3)[best]).all()


def test_a_part_with_few_studies_has_the_member_that_is_best_over_all():
    table = switching_table(2_000, 0)
    few = np.flatnonzero(table.body_parts == 1)[:19]
    table = table.select(np.sort(np.concatenate([few, np.flatnonzero(table.body_parts != 1)])))
    rows = make_agent("best_per_body_part").fit(table).arrays_["weights"]
    assert (rows[1] == make_agent("best_single").fit(table).arrays_["weights"][0]).all()
    assert (rows[1] == rows[-1]).all()
    own = make_agent("best_per_body_part", min_studies=19).fit(table).arrays_["weights"]
    assert not (own[1] == own[-1]).all()
    with pytest.raises(ValueError, match="expected min_studies in the range"):
        make_agent("best_per_body_part", min_studies=0)
