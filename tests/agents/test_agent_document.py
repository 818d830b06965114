import json
import resource
import shutil
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import load_agent
from tests.agents.tables import switching_table

TABLE = switching_table(100, 5)
NESTED = "[" * 200 + "]" * 200

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([-1, 0, 2**31, 2**63, 10**30, 10**400, -(10**400)])
    | st.sampled_from([-1.0, 0.5, 1e308])
    | st.sampled_from(["", "ppo", "../..", "os.system", "__import__('os').abort()", NESTED, "x" * 500])
    | st.just(json.loads(NESTED)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=3,
)
ATTACKED = [
    "oracle",
    "static",
    "stacking",
    "meta",
    "gate",
    "grpo",
    "rlensemble_v1",
    "dqn",
    "stable_baselines3",
]


def places(value, path=()):
    """Yield the path of everything in a document, the document itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def change(document, path, value) -> None:
    for key in path[:-1]:
        document = document[key]
    if value is None and isinstance(document, dict):
        del document[path[-1]]
    else:
        document[path[-1]] = value


@pytest.mark.parametrize("name", ATTACKED)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_change_of_the_document_gives_weights_or_a_sentence(originals, tmp_path_factory, name, data):
    directory = tmp_path_factory.getbasetemp() / f"changed-{name}"
    shutil.copytree(originals(name), directory, dirs_exist_ok=True)
    document = json.loads((directory / "agent.json").read_text())
    path = data.draw(st.sampled_from(list(places(document))))
    change(document, path, data.draw(VALUES))
    (directory / "agent.json").write_text(json.dumps(document))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        agent = load_agent(directory)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - either this or an agent
        assert len(str(error)) < 2_000  # noqa: PT017 - as above
    else:
        weights_or_refuses(agent)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def weights_or_refuses(agent) -> None:
    """A document of other names is a good one of another ensemble, or of other body parts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the body parts .* were not in the training table", UserWarning)
        try:
            weights = agent.weights(TABLE)
        except ValueError as error:
            assert str(error).startswith("expected")  # noqa: PT017 - either this or weights
            return
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", ["reinforce", "rlensemble_v1"])
@pytest.mark.parametrize("size", [16_384, 10**6, 10**9, 10**12, 10**30, 10**400])
def test_a_claim_of_a_large_network_takes_no_memory(originals, tmp_path, name, size):
    shutil.copytree(originals(name), tmp_path, dirs_exist_ok=True)
    document = json.loads((tmp_path / "agent.json").read_text())
    change(document, ("config", "hidden_size"), size)
    (tmp_path / "agent.json").write_text(json.dumps(document))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        ValueError,
        match=r"expected (the array|hidden_size|the option 'hidden_size'|options of a network that can be)",
    ):
        load_agent(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # kilobytes


def test_numbers_and_texts_beyond_measure_are_refused(originals, tmp_path):
    shutil.copytree(originals("stable_baselines3"), tmp_path, dirs_exist_ok=True)
    good = json.loads((tmp_path / "agent.json").read_text())
    for option, value in (("algorithm_options", "[" * 100_000), ("learning_rate", 10**400)):
        document = good | {"config": good["config"] | {option: value}}
        (tmp_path / "agent.json").write_text(json.dumps(document))
        with pytest.raises(ValueError, match=f"expected (the option '{option}'|{option} as)"):
            load_agent(tmp_path)
    for text in ("[" * 100_000, '{"format": ' + "1" * 10_000 + "}"):
        (tmp_path / "agent.json").write_text(text)
        with pytest.raises(ValueError, match="damaged or no JSON"):
            load_agent(tmp_path)
