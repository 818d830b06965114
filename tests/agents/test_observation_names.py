import pytest

from agents.observation_names import layout_for, require_same_columns
from mura_env import ObservationLayout
from tests.agents.tables import noise_table


def test_the_layout_is_that_of_a_table():
    table = noise_table(9, 0, n_classes=3, n_models=2)
    layout = layout_for(table.model_names, table.class_names, table.body_part_names)
    assert layout.names == ObservationLayout.of(table).names


@pytest.mark.parametrize("saved", [["b", "a"], ["a"], ["a", "b", "c"], []])
def test_other_columns_are_refused(saved):
    require_same_columns(["a", "b"], ("a", "b"))
    with pytest.raises(
        ValueError, match=f"the 2 observation columns of this version, got {len(saved)} others"
    ):
        require_same_columns(saved, ("a", "b"))
