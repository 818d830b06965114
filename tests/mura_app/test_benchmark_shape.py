import json

import pytest
from jsonschema import Draft202012Validator

from agents.benchmark import run_benchmark
from mura_app.artifacts import read_benchmark
from mura_app.run_directory import RunDirectory
from mura_app.schema import PROTOCOL, benchmark_shape


@pytest.fixture(scope="module")
def document(tables):
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


def read(document, folder):
    (folder / "benchmark.json").write_text(json.dumps(document), encoding="utf-8")
    return read_benchmark(RunDirectory(folder))


def test_a_benchmark_fits(document, tmp_path):
    assert read(document, tmp_path) == document


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("seeds",), ["x"], "with 'x' where seeds[0] should be"),
        (("seeds",), None, "without 'seeds'"),
        (("n_studies",), -3, "with -3 where n_studies should be a whole number, not negative"),
        (("protocol",), None, "without 'protocol'"),
        (("protocol", "body_part_names"), ["a"], "without 'a' in agents.oracle.per_body_part"),
        (("agents", "uniform"), None, "without 'uniform' in agents"),
        (("agents", "reinforce", "vs_uniform", "ci95"), [1], "agents.reinforce.vs_uniform.ci95 should be"),
        (("agents", "reinforce", "accuracy", "mean"), "high", "agents.reinforce.accuracy.mean should be"),
        (("controls", "majority", "vs_uniform"), None, "without 'vs_uniform' in controls.majority"),
        (("behaviour", "oracle"), 5, "with 5 where behaviour.oracle should be an object"),
        (("images",), "none", "where images should be an object"),
    ],
)
def test_an_edited_benchmark_is_refused_in_one_line(document, tmp_path, place, value, words):
    with pytest.raises(ValueError, match="expected a finished benchmark of this version") as error:
        read(changed(document, place, value), tmp_path)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_the_shapes_are_json_schemas_that_name_no_other_file(document):
    for shape in (PROTOCOL, benchmark_shape(document["protocol"])):
        Draft202012Validator.check_schema(shape)
        assert "$ref" not in json.dumps(shape)
