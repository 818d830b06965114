import json

import pytest

from mura_app.schema import (
    COUNT,
    FLAG,
    NUMBER,
    SHARE,
    TEXT,
    by_name,
    list_of,
    misfit,
    or_null,
    or_reason,
    read_document,
    record,
)

SHAPE = record(
    {
        "seeds": list_of(COUNT, least=1),
        "share": SHARE,
        "ends? others?": list_of(NUMBER, length=2),
        "rows": by_name(record({"name": TEXT, "bound": FLAG}), needed=("uniform",)),
        "weights": by_name(or_null(list_of(NUMBER))),
        "images": or_reason(record({"n": COUNT})),
        "repeats?": or_reason(record({"n": COUNT})),
    }
)
ROW = {"name": "x", "bound": False}
GOOD = {
    "seeds": [0],
    "share": 1,
    "rows": {"uniform": ROW},
    "weights": {},
    "images": {"reason": "none"},
    "more": object(),
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ends": None},
        {"ends": [0, -1.5]},
        {"weights": {"one": None, "two": [1]}},
        {"images": {"n": 2}},
        {"repeats": None},
        {"repeats": {"reason": "none", "n": "x"}},
    ],
)
def test_what_fits(change):
    assert misfit({**GOOD, **change}, SHAPE) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": ["x"]}, "with 'x' where seeds[0] should be a whole number, not negative"),
        ({"seeds": [True]}, "with True where seeds[0] should be"),
        ({"seeds": [1.0]}, "with 1.0 where seeds[0] should be a whole number"),
        ({"seeds": [-1]}, "with -1 where seeds[0] should be"),
        ({"seeds": []}, "with [] where seeds should be a list of at least 1 values"),
        ({"seeds": {}}, "with {} where seeds should be a list"),
        ({"share": 1.5}, "with 1.5 where share should be a number from 0 to 1"),
        ({"share": None}, "with None where share should be"),
        ({"ends": [1]}, "with [1] where ends should be a list of 2 values"),
        ({"others": [1, 2, 3]}, "with [1, 2, 3] where others should be a list of 2 values"),
        ({"rows": {}}, "without 'uniform' in rows"),
        ({"rows": []}, "with [] where rows should be an object"),
        ({"rows": {"uniform": {"name": "x"}}}, "without 'bound' in rows.uniform"),
        ({"rows": {"uniform": {**ROW, "name": 7}}}, "with 7 where rows.uniform.name should be a text"),
        ({"rows": {"uniform": {**ROW, "bound": 1}}}, "rows.uniform.bound should be true or false"),
        ({"rows": {"uniform": ROW, "two words": 1}}, "with 1 where rows['two words'] should be an object"),
        ({"weights": {"one": [None]}}, "with None where weights.one[0] should be a number"),
        ({"images": {"reason": 3}}, "without 'n' in images"),
        ({"images": None}, "with None where images should be an object"),
        ({"images": {"n": "x"}}, "with 'x' where images.n should be"),
        ({"seeds": "y" * 100}, f"with '{'y' * 39}… where seeds"),
    ],
)
def test_a_misfit_is_named_with_its_place(change, words):
    assert words in misfit({**GOOD, **change}, SHAPE)


def test_a_missing_key_at_the_top():
    assert misfit({}, record({"seeds": COUNT})) == "without 'seeds'"
    assert misfit([], record({"seeds": COUNT})) == "with [] where it should be an object"


def test_of_several_misfits_the_outermost_is_named_and_of_those_the_first_by_name():
    seeds, rows = {"seeds": ["x"]}, {"rows": {"uniform": ROW, "b": 1, "a": 1}}
    assert misfit({**GOOD, **seeds, **rows}, SHAPE).endswith("where rows.a should be an object")
    assert misfit({**GOOD, **seeds, **rows, "share": 7}, SHAPE).startswith("with 7 where share")


@pytest.mark.parametrize("depth", [10, 500, 900, 960, 980, 100_000])
def test_lists_in_lists_are_refused_however_deep(tmp_path, depth):
    path = tmp_path / "x.json"
    path.write_text('{"seeds": ' + "[" * depth + "]" * depth + "}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected a record, got .*x\.json") as error:
        read_document(path, "a record", record({"seeds": list_of(COUNT)}), "write it again")
    assert len(str(error.value).replace(str(path), "")) < 200


def test_a_document_is_read_whole_or_refused(tmp_path):
    path, shape = tmp_path / "x.json", record({"share": NUMBER})
    path.write_text(json.dumps({"share": 0.5, "more": [None]}), encoding="utf-8")
    assert read_document(path, "a record", shape, "write it again") == {"share": 0.5, "more": [None]}
    path.write_text('{"share": NaN}', encoding="utf-8")
    with pytest.raises(ValueError, match="expected finite numbers, got NaN"):
        read_document(path, "a record", shape, "write it again")
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match=r"got .*x\.json without 'share'; write it again$"):
        read_document(path, "a record", shape, "write it again")
