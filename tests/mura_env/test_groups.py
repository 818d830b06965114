"""Studies grouped by something else than body parts, and by several things at once."""

import numpy as np
import pytest

from mura_env import Columns, Predictions, matched_to
from mura_env.errors import UserError

WIDE = """case,pid,hospital,sex,age_group,diagnosis,A,B
c1,p1,north,f,young,no,0.2,0.3
c2,p2,south,m,old,yes,0.8,0.6
c3,p3,north,m,young,yes,0.7,0.4
"""
COLUMNS = Columns(
    id="case",
    label="diagnosis",
    patient="pid",
    group="hospital",
    subgroups=("sex", "age_group"),
    model_columns=("A", "B"),
)


@pytest.fixture
def table(tmp_path):
    (tmp_path / "wide.csv").write_text(WIDE)
    return Predictions.from_csv(tmp_path / "wide.csv", columns=COLUMNS)


def assert_grouped(table):
    assert table.group_name == "hospital"
    assert [table.body_part_names[i] for i in table.body_parts] == ["north", "south", "north"]
    assert table.subgroup_names == ("sex", "age_group")
    assert table.subgroups.tolist() == [["f", "young"], ["m", "old"], ["m", "young"]]


def test_a_table_keeps_its_groups_and_their_word_in_every_file(table, tmp_path):
    assert_grouped(table)
    table.save(tmp_path / "table.npz")
    assert_grouped(Predictions.load(tmp_path / "table.npz"))
    table.to_csv(tmp_path / "table.csv")
    header = (tmp_path / "table.csv").read_text().splitlines()[0].split(",")
    assert {"group_hospital", "subgroup_sex", "subgroup_age_group"} <= {*header}
    assert "body_part" not in header
    assert_grouped(Predictions.from_csv(tmp_path / "table.csv"))
    assert "2 hospitals (north, south)" in repr(table)


def test_groups_go_with_their_studies(table):
    last = table.select([2, 1])
    assert (last.group_name, last.subgroups.tolist()) == ("hospital", [["m", "young"], ["m", "old"]])
    again = Predictions.concatenate([last, table.select([0])])
    assert again.subgroups.tolist() == [["m", "young"], ["m", "old"], ["f", "young"]]
    assert matched_to(table, table).group_name == "hospital"
    with pytest.raises(ValueError, match="read-only"):
        table.subgroups[0, 0] = "x"


def test_a_group_word_of_several_words_is_read_back(table, tmp_path):
    other = Predictions.from_arrays(
        table.logits, table.labels, ["a", "b", "a"], class_names=("no", "yes"), group_name="age group"
    )
    other.to_csv(tmp_path / "t.csv")
    assert "group_age_group" in (tmp_path / "t.csv").read_text()
    assert Predictions.from_csv(tmp_path / "t.csv").group_name == "age group"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"group_name": "x" * 61}, "up to 60 letters"),
        ({"group_name": "two\nlines"}, "up to 60 letters"),
        ({"subgroups": [["a"], ["b"]], "subgroup_names": ("sex",)}, r"shape \(3, 1\)"),
        ({"subgroups": [["a"], ["b"], ["c"]]}, r"shape \(3, 0\)"),
        ({"subgroups": np.ones((3, 1)), "subgroup_names": ("sex",)}, "as text"),
    ],
)
def test_wrong_groups_are_refused(table, columns, words):
    with pytest.raises(UserError, match=words):
        Predictions.from_arrays(table.logits, table.labels, **columns)
    with pytest.raises(TypeError, match="got 'hospital'"):
        Predictions.from_arrays(table.logits, table.labels, hospital="x")


def test_a_csv_of_two_groupings_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text(
        "study_id,label,model,body_part,group_hospital,probability_no,probability_yes\n"
        "s,no,m,hand,north,0.5,0.5\n"
    )
    with pytest.raises(UserError, match="expected one column of body parts or of a group"):
        Predictions.from_csv(tmp_path / "t.csv")
