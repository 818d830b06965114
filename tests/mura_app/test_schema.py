import json
from pathlib import Path
from typing import Any

import pytest

from agents.benchmark import run_benchmark
from agents.benchmark.schema import Count, Document, Ends, OrReason, Share
from mura_app.artifacts import read_benchmark, write_pages
from mura_app.run_directory import RunDirectory
from mura_app.schema import read_document, write_schemas


class Row(Document):
    name: str
    bound: bool


class N(Document):
    n: Count


class Example(Document):
    seeds: list[Count]
    share: Share
    ends: Ends | None = None
    rows: dict[str, Row]
    weights: dict[str, list[float] | None]
    images: OrReason[N]


ROW = {"name": "x", "bound": False}
GOOD = {"seeds": [0], "share": 1, "rows": {"uniform": ROW}, "weights": {}, "images": {"reason": "none"}}


def read(folder, document, model: Any = Example):
    path = folder / "x.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return read_document(path, model, "a record", "write it again")


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"ends": None},
        {"ends": [0, -1.5]},
        {"weights": {"one": None, "two": [1]}},
        {"images": {"n": 2}},
    ],
)
def test_a_document_that_fits_is_returned_as_it_is(tmp_path, change):
    assert read(tmp_path, {**GOOD, **change}) == {**GOOD, **change}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": ["x"]}, "with 'x' where seeds.0 should be a valid integer; write it again"),
        ({"seeds": [True]}, "with True where seeds.0 should be a valid integer"),
        ({"seeds": [1.0]}, "with 1.0 where seeds.0 should be a valid integer"),
        ({"seeds": [-1]}, "with -1 where seeds.0 should be greater than or equal to 0"),
        ({"seeds": {}}, "with {} where seeds should be a valid list"),
        ({"share": 1.5}, "with 1.5 where share should be less than or equal to 1"),
        ({"share": None}, "with None where share should be a valid number"),
        ({"ends": [1]}, "with [1] where ends should have at least 2 items"),
        ({"ends": [1, 2, 3]}, "with [1, 2, 3] where ends should have at most 2 items"),
        ({"rows": []}, "with [] where rows should be a valid dictionary"),
        ({"rows": {"uniform": {"name": "x"}}}, "without 'bound' in rows.uniform"),
        (
            {"rows": {"uniform": {**ROW, "name": 7}}},
            "with 7 where rows.uniform.name should be",
        ),
        (
            {"rows": {"uniform": {**ROW, "bound": 1}}},
            "with 1 where rows.uniform.bound should be",
        ),
        ({"rows": {"two words": 1}}, "with 1 where rows.two words should be a valid dictionary"),
        ({"weights": {"one": [None]}}, "with None where weights.one.0 should be a valid number"),
        ({"images": {"reason": 3}}, "with 3 where images.reason should be a valid string"),
        ({"images": None}, "with None where images should be a valid dictionary"),
        ({"images": {"n": "x"}}, "with 'x' where images.n should be a valid integer"),
        ({"more": 1}, "with the unknown field more"),
        ({"share": "y" * 1000}, "with 'yyy"),
    ],
)
def test_a_field_that_does_not_fit_is_named_with_its_place(tmp_path, change, words):
    with pytest.raises(ValueError, match=r"expected a record, got .*x\.json") as error:
        read(tmp_path, {**GOOD, **change})
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


def test_a_missing_field_and_another_kind_of_document(tmp_path):
    with pytest.raises(ValueError, match=r"x\.json without 'n'; write it again$"):
        read(tmp_path, {}, N)
    with pytest.raises(ValueError, match=r"x\.json with a list in it"):
        read(tmp_path, [])
    with pytest.raises(ValueError, match="expected finite numbers, got NaN"):
        read(tmp_path, '{"share": NaN}')


def test_of_several_fields_the_outermost_is_named_and_of_those_the_first_by_name(tmp_path):
    seeds, rows = {"seeds": ["x"]}, {"rows": {"uniform": ROW, "b": 1, "a": 1}}
    with pytest.raises(ValueError, match=r"where rows\.a should"):
        read(tmp_path, {**GOOD, **seeds, **rows})
    with pytest.raises(ValueError, match="with 7 where share should"):
        read(tmp_path, {**GOOD, **seeds, **rows, "share": 7})


@pytest.mark.parametrize("depth", [10, 500, 900, 960, 980, 100_000])
def test_lists_in_lists_are_refused_however_deep(tmp_path, depth):
    with pytest.raises(ValueError, match=r"expected a record, got .*x\.json") as error:
        read(tmp_path, '{"seeds": ' + "[" * depth + "]" * depth + "}")
    assert len(str(error.value).replace(str(tmp_path), "")) < 200


@pytest.fixture(scope="module")
def benchmark(tables):
    found = run_benchmark(*tables, agents=["reinforce", "oracle"], seeds=[0], n_jobs=1, n_resamples=50)
    return json.loads(json.dumps(found))


def changed(document, place, value):
    copy = json.loads(json.dumps(document))
    part = copy
    for step in place[:-1]:
        part = part[step]
    if value is None:
        del part[place[-1]]
    else:
        part[place[-1]] = value
    return copy


def read_again(document, folder):
    (folder / "benchmark.json").write_text(json.dumps(document), encoding="utf-8")
    return read_benchmark(RunDirectory(folder))


def test_a_benchmark_fits(benchmark, tmp_path):
    assert read_again(benchmark, tmp_path) == benchmark


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("seeds",), ["x"], "with 'x' where seeds.0 should be"),
        (("seeds",), [], "with [] where seeds should have at least 1 item"),
        (("seeds",), None, "without 'seeds'"),
        (("n_studies",), -3, "with -3 where n_studies should be greater than or equal to 0"),
        (("protocol",), None, "without 'protocol'"),
        (("protocol", "body_part_names"), ["a"], "without 'a' in agents.uniform.per_body_part"),
        (("agents", "uniform"), None, "without 'uniform' in agents"),
        (("agents", "reinforce", "vs_uniform", "ci95"), [1], "agents.reinforce.vs_uniform.ci95 should have"),
        (("agents", "reinforce", "accuracy", "mean"), "high", "agents.reinforce.accuracy.mean should be"),
        (("agents", "reinforce", "verdicts"), 1, "with the unknown field agents.reinforce.verdicts"),
        (("controls", "majority", "vs_uniform"), None, "without 'vs_uniform' in controls.majority"),
        (("behaviour", "oracle"), 5, "with 5 where behaviour.oracle should be a valid dictionary"),
        (("images",), "none", "where images should be a valid dictionary"),
        (("protocol", "model_names"), None, "without 'model_names' in protocol"),
        (("weights_vary", "reinforce"), None, "without 'reinforce' in weights_vary"),
        (("behaviour", "agents", "uniform"), None, "without 'uniform' in behaviour.agents"),
        (("curves", "majority"), None, "without 'majority' in curves"),
        (("curves", "uniform", "reliability", "n"), [1.0], "with lists of other lengths in a reliability"),
        (("curves", "uniform", "roc", "true_positive_rate"), [0.5], "with lists of other lengths in a roc"),
        (
            ("curves", "uniform", "reliability", "observed_frequency", 0),
            2.0,
            "should be less than or equal to 1",
        ),
        (("agents", "reinforce", "learning_curve", "steps"), [], "with steps and "),
        (("agents", "reinforce", "accuracy", "mean"), 1e300, "should be less than or equal to 1000000000"),
        (
            ("behaviour", "agents", "reinforce", "by_body_part", "PART0", "weights", "mean"),
            [1.0],
            "with other than 2 weights in behaviour.agents.reinforce",
        ),
        (
            ("behaviour", "agents", "reinforce", "changed_predictions", "studies", 0, "change"),
            "<b>",
            "with '<b>' where behaviour.agents.reinforce.changed_predictions.studies.0.change should be",
        ),
    ],
)
def test_an_edited_benchmark_is_refused_in_one_line(benchmark, tmp_path, place, value, words):
    with pytest.raises(ValueError, match="expected a finished benchmark of this version") as error:
        read_again(changed(benchmark, place, value), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "name", ["../../evil", "<script>", "$x$", "[/red]", "two words", "a/b", "", "\x1b[31m"]
)
def test_names_of_agents_follow_the_rule_of_the_registry(benchmark, tmp_path, name):
    row = benchmark["agents"]["reinforce"]
    with pytest.raises(ValueError, match="should match pattern"):
        read_again(changed(benchmark, ("agents", name), row), tmp_path)
    for setting in ({"agents": [name]}, {"agent_options": {name: {}}}):
        config = {"format_version": 1, "versions": {}, **setting}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="should match pattern"):
            RunDirectory(tmp_path).read_config()


def test_null_says_as_much_as_leaving_out(benchmark, tmp_path):
    """What may be left out of a run's documents may be null, and the pages are the same."""
    RunDirectory(tmp_path).claim({"seed": 0})
    pages = []
    for value in ({}, {"seed": None, "agents": None, "evaluated_run": None, "positive": None}):
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(
            json.dumps({"format_version": 1, "versions": config["versions"], **value})
        )
        document = json.loads(json.dumps(benchmark))
        if value:
            document |= {"repeats": None, "title": None}
            for row in document["agents"].values():
                row["vs_uniform"]["over_repeats"] = None
                row["per_body_part"]["PART0"]["reason"] = None
        write_pages(RunDirectory(tmp_path), read_again(document, tmp_path))
        pages.append((tmp_path / "MODEL_CARD.md").read_text())
    assert pages[0] == pages[1]


@pytest.mark.parametrize("versions", [None, [], {"torch": None}, {"torch": 2}])
def test_versions_are_named_where_they_are_none(tmp_path, versions):
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "versions": versions}))
    with pytest.raises(ValueError, match=r"config\.json with .* where versions"):
        RunDirectory(tmp_path).read_config()


def test_the_schemas_in_the_docs_are_those_of_the_documents(tmp_path):
    """`python -m mura_app.schema` writes them again."""
    write_schemas(tmp_path)
    docs = Path(__file__).parents[2] / "docs" / "schema"
    assert {path.name for path in docs.iterdir()} == {path.name for path in tmp_path.iterdir()}
    for path in docs.iterdir():
        assert json.loads(path.read_text()) == json.loads((tmp_path / path.name).read_text()), path.name
