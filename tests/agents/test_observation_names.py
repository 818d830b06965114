import pytest

from agents.storage import saved_layout
from mura_env import ObservationLayout
from tests.agents.tables import noise_table

TABLE = noise_table(9, 0, n_classes=3, n_models=2)
NAMES = TABLE.model_names, TABLE.class_names, TABLE.body_part_names
COLUMNS = ObservationLayout.of(TABLE).names


def test_the_layout_is_that_of_a_table():
    assert saved_layout(COLUMNS, *NAMES).names == COLUMNS


@pytest.mark.parametrize("saved", [COLUMNS[::-1], COLUMNS[:-1], (*COLUMNS, "more"), ()])
def test_other_columns_are_refused(saved):
    with pytest.raises(ValueError, match=f"observation columns of this version, got {len(saved)} others"):
        saved_layout(saved, *NAMES)


def test_names_of_a_table_too_large_to_make_are_refused():
    many = [str(number) for number in range(100_000)]  # together they would name ten thousand million columns
    with pytest.raises(ValueError, match="observation columns of this version"):
        saved_layout(COLUMNS, many, many, TABLE.body_part_names)
