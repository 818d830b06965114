import pytest

from mura_app.document_shape import COUNT, FLAG, NUMBER, SHARE, TEXT, ByName, ListOf, Maybe, OrReason, misfit

SHAPE = {
    "seeds": ListOf(COUNT, least=1),
    "share": SHARE,
    "ends": Maybe(ListOf(NUMBER, length=2)),
    "rows": ByName({"name": TEXT, "bound": FLAG}, needed=("uniform",)),
    "images": OrReason({"n": COUNT}),
}
ROW = {"name": "x", "bound": False}
GOOD = {"seeds": [0], "share": 1, "rows": {"uniform": ROW}, "images": {"reason": "none"}, "more": object()}


@pytest.mark.parametrize("change", [{}, {"ends": None}, {"ends": [0, -1.5]}, {"images": {"n": 2}}])
def test_what_fits(change):
    assert misfit({**GOOD, **change}, SHAPE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": ["x"]}, "with 'x' where seeds[0] should be a whole number, not negative"),
        ({"seeds": [True]}, "with True where seeds[0] should be"),
        ({"seeds": [-1]}, "with -1 where seeds[0] should be"),
        ({"seeds": []}, "with [] where seeds should be a list of at least 1 values"),
        ({"seeds": {}}, "with {} where seeds should be a list"),
        ({"share": 1.5}, "with 1.5 where share should be a number from 0 to 1"),
        ({"share": None}, "with None where share should be"),
        ({"ends": [1]}, "with [1] where ends should be a list of 2 values"),
        ({"rows": {}}, "without 'uniform' in rows"),
        ({"rows": []}, "with [] where rows should be an object"),
        ({"rows": {"uniform": {"name": "x"}}}, "without 'bound' in rows.uniform"),
        ({"rows": {"uniform": {**ROW, "name": 7}}}, "with 7 where rows.uniform.name should be a text"),
        ({"rows": {"uniform": {**ROW, "bound": 1}}}, "rows.uniform.bound should be true or false"),
        ({"images": {"reason": 3}}, "without 'n' in images"),
        ({"seeds": "y" * 100}, f"with '{'y' * 39}… where seeds"),
    ],
)
def test_the_first_misfit_is_named_with_its_place(change, words):
    assert words in misfit({**GOOD, **change}, SHAPE)


def test_a_missing_key_at_the_top():
    assert misfit({}, {"seeds": COUNT}) == "without 'seeds'"
    assert misfit([], {"seeds": COUNT}) == "with [] where it should be an object"
