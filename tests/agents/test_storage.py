import json
import pickle
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import load_agent
from tests.agents.conftest import INSTALLED
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0)


class Boom:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(params=INSTALLED)
def saved(request, originals, tmp_path):
    """A folder with a saved agent, one after the other of all that there are."""
    shutil.copytree(originals(request.param), tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(path: Path, **fields) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps(document | fields))


def arrays(directory: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(directory / "agent.safetensors")


def write_arrays(directory: Path, changed: dict[str, np.ndarray]) -> None:
    """Write other arrays and let the document agree, so that only the arrays themselves can be refused."""
    safetensors.numpy.save_file(changed, directory / "agent.safetensors")
    described = {name: {"dtype": str(a.dtype), "shape": list(a.shape)} for name, a in changed.items()}
    change(directory / "agent.json", arrays=described)


def test_a_folder_without_an_agent_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"agent\.json"):
        load_agent(tmp_path)


def test_a_half_written_agent_has_no_document(saved):
    (saved / "agent.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"agent\.safetensors"):
        load_agent(saved)


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_truncated_files_are_refused(saved, name, share):
    contents = (saved / name).read_bytes()
    (saved / name).write_bytes(contents[: int(len(contents) * share)])
    with pytest.raises(ValueError, match=r"damaged|foreign"):
        load_agent(saved)


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_a_pickle_is_refused_and_not_executed(saved, name):
    (saved / name).write_bytes(pickle.dumps(Boom(saved / "executed")))
    with pytest.raises(ValueError, match=r"damaged|foreign"):
        load_agent(saved)
    assert not (saved / "executed").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format_version": 99}, "version 1"),
        ({"format": "other"}, "expected a saved agent"),
        ({"agent": "unknown"}, "expected one of the agents"),
        ({"agent": "os.system"}, "expected one of the agents"),
        ({"config": {"shell": "true"}}, "got 'shell'"),
        ({"agent": "../../evil"}, "expected one of the agents"),
        ({"config": 3}, "expected the field 'config'"),
        ({"model_names": "abc"}, "expected the field 'model_names'"),
        ({"learning_curve": "flat"}, "expected the field 'learning_curve'"),
        ({"total_steps": "many"}, "expected the field 'total_steps'"),
        ({"seconds": float("nan")}, "finite"),
        ({"arrays": {"another": {}}}, "expected the arrays"),
        ({"arrays": None}, "expected the field 'arrays'"),
    ],
)
def test_a_changed_document_is_refused(saved, fields, message):
    change(saved / "agent.json", **fields)
    with pytest.raises(ValueError, match=message):
        load_agent(saved)


@pytest.mark.parametrize("field", ["model_names", "class_names", "body_part_names"])
def test_names_that_do_not_fit_the_arrays_are_refused(saved, field):
    document = json.loads((saved / "agent.json").read_text())
    change(saved / "agent.json", **{field: [*document[field], "one more"]})
    try:
        agent = load_agent(saved)
    except ValueError as error:
        assert "expected" in str(error)  # noqa: PT017 - either here, or below where the table is checked
        return
    if field == "body_part_names":  # no array has an axis of body parts: one more is never asked for
        assert np.array_equal(agent.weights(TABLE), load_agent(saved).weights(TABLE))
    else:
        with pytest.raises(ValueError, match="expected a table of the"):
            agent.weights(TABLE)


def test_arrays_of_other_shape_type_or_value_are_refused(saved):
    good = arrays(saved)
    for name, array in good.items():
        changed = [
            array.astype(np.float16),
            array.astype(np.int64 if array.dtype.kind == "f" else np.float32),
        ]
        if array.ndim and array.shape[-1]:
            changed.append(array[..., :-1])
        if array.dtype.kind == "f" and array.size:
            changed += [np.full_like(array, np.nan), np.full_like(array, -np.inf)]
        for bad in changed:
            write_arrays(saved, good | {name: np.ascontiguousarray(bad)})
            with pytest.raises(ValueError, match="expected"):
                load_agent(saved)
        write_arrays(saved, {key: value for key, value in good.items() if key != name})
        with pytest.raises(ValueError, match="expected"):
            load_agent(saved)
    write_arrays(saved, good)
    load_agent(saved)


def test_a_saved_agent_weights_alike_to_the_bit(saved):
    table = switching_table(50, 1)
    agent = load_agent(saved)
    agent.save(saved / "again")
    again = load_agent(saved / "again")
    assert np.array_equal(again.weights(table), agent.weights(table))
    assert np.array_equal(again.predict_proba(table), agent.predict_proba(table))
    weights = agent.weights(table)
    assert weights.dtype == np.float32
    assert weights.shape == (50, 3)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)


def test_tables_of_other_members_order_or_classes_are_refused(saved):
    agent = load_agent(saved)
    names, classes = TABLE.model_names, TABLE.class_names
    for other in (
        replace(TABLE, model_names=names[::-1]),
        replace(TABLE, model_names=(*names[:-1], "another")),
        replace(TABLE, logits=TABLE.logits[:, :2], model_names=names[:2]),
        replace(TABLE, class_names=(classes[0], "another")),
    ):
        for method in (agent.weights, agent.predict_proba):
            with pytest.raises(
                ValueError, match=r"expected a table of the (models|classes) .* in this order"
            ):
                method(other)


def test_other_observation_columns_are_refused(saved):
    """What an agent read in another version's observations means something else in this one's."""
    document = json.loads((saved / "agent.json").read_text())
    names = document["observation_names"]
    if not names:  # it reads none, so that nothing can be misread
        change(saved / "agent.json", observation_names=["confidence"])
        assert load_agent(saved).weights(TABLE).shape == (len(TABLE), 3)
    for other in (names[::-1], names[:-1], ["confidence", *names[1:]]) if names else ():
        change(saved / "agent.json", observation_names=other)
        with pytest.raises(ValueError, match=r"observation columns of this version"):
            load_agent(saved)


def test_a_body_part_never_seen_is_weighted_with_a_warning(saved):
    table = switching_table(30, 2, n_parts=8)
    agent = load_agent(saved)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = agent.weights(table)
    assert [str(warning.message) for warning in caught if "part7" in str(warning.message)]
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)


def test_arrays_must_be_those_of_the_document(saved):
    good = arrays(saved)
    more = {"more": np.zeros(3, np.float32)}
    safetensors.numpy.save_file(good | more, saved / "agent.safetensors")
    with pytest.raises(ValueError, match="expected the arrays"):
        load_agent(saved)


def test_saving_leaves_nothing_else_behind(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["agent.json", "agent.safetensors"]
    load_agent(saved).save(saved)
    assert sorted(path.name for path in saved.iterdir()) == ["agent.json", "agent.safetensors"]


@pytest.mark.parametrize("name", ["agent.json", "agent.safetensors"])
def test_what_is_no_file_is_named(originals, tmp_path, name):
    shutil.copytree(originals("static"), tmp_path / "saved")
    (tmp_path / "saved" / name).unlink()
    (tmp_path / "saved" / name).mkdir()
    with pytest.raises(FileNotFoundError, match=name):
        load_agent(tmp_path / "saved")
    (tmp_path / "saved" / name).rmdir()
    (tmp_path / "saved" / name).symlink_to(name)  # a link to itself
    with pytest.raises(FileNotFoundError, match=name):
        load_agent(tmp_path / "saved")
    (tmp_path / "saved" / name).unlink()
    (tmp_path / "saved" / name).symlink_to(originals("static") / name)
    assert load_agent(tmp_path / "saved").name == "static"  # who links to a good file gets what is in it


ATTACKED = ["static", "stacking", "knora_u", "meta", "reinforce", "rlensemble_v1", "stable_baselines3"]
"""An agent for each kind of arrays."""


@pytest.mark.parametrize("name", ATTACKED)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_arrays_give_weights_or_a_sentence(originals, tmp_path_factory, name, data):
    """Bytes are changed, cut out or put in; what can still be read must still be weights."""
    directory = tmp_path_factory.getbasetemp() / f"damaged-{name}"
    shutil.copytree(originals(name), directory, dirs_exist_ok=True)
    contents = bytearray((directory / "agent.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(contents) - 1))
        length = data.draw(st.sampled_from([0, 1, 4, 64]))
        contents[start : start + length] = data.draw(st.binary(max_size=8))
    (directory / "agent.safetensors").write_bytes(contents)
    loads_or_refuses(directory)


@pytest.mark.parametrize("name", ATTACKED)
@pytest.mark.parametrize("number", [3e38, -3e38, 1e-45, 0.0])
def test_enormous_numbers_give_weights_or_a_sentence(originals, tmp_path, name, number):
    shutil.copytree(originals(name), tmp_path, dirs_exist_ok=True)
    good = arrays(tmp_path)
    for key, array in good.items():
        if array.dtype.kind == "f":
            write_arrays(tmp_path, good | {key: np.full_like(array, number)})
            loads_or_refuses(tmp_path)


def loads_or_refuses(directory: Path) -> None:
    """Load, then weight: both may refuse, in a sentence; warnings count as errors."""
    try:
        weights = load_agent(directory).weights(TABLE)
    except ValueError as error:
        assert str(error).startswith("expected")  # noqa: PT017 - either this or weights
        return
    assert weights.shape == (len(TABLE), 3)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
