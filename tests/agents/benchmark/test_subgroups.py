from dataclasses import replace

import numpy as np
import pytest

from agents.benchmark.subgroups import MOST_GROUPS, subgroup_document
from tests.agents.tables import switching_table

PLAIN = switching_table(200, 0)
SEX = np.where(np.arange(200) % 3 == 0, "f", "m")
TABLE = replace(
    PLAIN,
    subgroups=np.stack([SEX, [f"{i % 50}" for i in range(200)]], axis=1),
    subgroup_names=("sex", "age"),
)


def test_the_accuracy_of_each_group_is_that_of_a_plain_loop():
    probabilities = TABLE.probabilities[:, :2].swapaxes(0, 1)  # two members stand for two seeds
    found = subgroup_document(TABLE, {"ppo": probabilities})
    assert [*found["sex"]] == ["f", "m"]
    for group, row in found["sex"].items():
        rows = [i for i in range(200) if SEX[i] == group]
        right = [
            np.mean([probabilities[seed, i].argmax() == TABLE.labels[i] for i in rows]) for seed in (0, 1)
        ]
        figure = row["accuracy"]["ppo"]
        assert row["n_studies"] == len(rows)
        assert figure["mean"] == pytest.approx(np.mean(right))
        assert figure["seed_spread"] == pytest.approx(np.std(right, ddof=1))
        assert figure["ci95"][0] < figure["mean"] < figure["ci95"][1]


def test_small_groups_have_no_figures_and_of_many_the_largest_stay():
    found = subgroup_document(TABLE, {"ppo": TABLE.probabilities[:, :1].swapaxes(0, 1)})
    assert len(found["age"]) == MOST_GROUPS
    assert all(row["accuracy"] == {"ppo": None} for row in found["age"].values())  # four studies each
    assert subgroup_document(PLAIN, {}) == {}
