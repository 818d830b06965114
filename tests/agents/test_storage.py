import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from agents import load_agent, make_agent
from tests.agents.tables import switching_table

TABLE = switching_table(300, 0)


class Boom:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture(params=["static", "reinforce"])
def saved(request, tmp_path):
    options = {"total_steps": 256, "n_checkpoints": 1} if request.param == "reinforce" else {}
    make_agent(request.param, **options).fit(TABLE).save(tmp_path)
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
        ({"format_version": 99}, "expected format version 1"),
        ({"format": "other"}, "expected a saved agent"),
        ({"agent": "unknown"}, "expected one of the agents"),
        ({"agent": "os.system"}, "expected one of the agents"),
        ({"config": {"shell": "true"}}, "got 'shell'"),
        ({"config": 3}, "expected the options"),
        ({"model_names": "abc"}, "expected the field 'model_names'"),
        ({"model_names": ["a", "b"]}, "expected"),
        ({"body_part_names": ["a"]}, "expected"),
        ({"total_steps": "many"}, "expected the field 'total_steps'"),
        ({"seconds": float("nan")}, "finite"),
        ({"arrays": {}}, "expected the arrays"),
        ({"arrays": None}, "arrays' names"),
    ],
)
def test_a_changed_document_is_refused(saved, fields, message):
    change(saved / "agent.json", **fields)
    with pytest.raises(ValueError, match=message):
        load_agent(saved)


def test_arrays_of_other_shape_type_or_value_are_refused(saved):
    good = arrays(saved)
    for name, array in good.items():
        if array.ndim == 0:
            continue
        for bad in (array[..., :-1], array.astype(np.float16), np.full_like(array, np.nan)):
            write_arrays(saved, good | {name: np.ascontiguousarray(bad)})
            with pytest.raises(ValueError, match="expected"):
                load_agent(saved)
        write_arrays(saved, {key: value for key, value in good.items() if key != name})
        with pytest.raises(ValueError, match="expected the array"):
            load_agent(saved)
    write_arrays(saved, good)
    load_agent(saved)


def test_arrays_must_be_those_of_the_document(saved):
    good = arrays(saved)
    name = next(iter(good))
    safetensors.numpy.save_file(good | {name: good[name] * np.inf}, saved / "agent.safetensors")
    with pytest.raises(ValueError, match="finite"):
        load_agent(saved)
    safetensors.numpy.save_file(good | {"more": good[name]}, saved / "agent.safetensors")
    with pytest.raises(ValueError, match="expected the arrays"):
        load_agent(saved)


def test_saving_leaves_nothing_else_behind(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["agent.json", "agent.safetensors"]
    load_agent(saved).save(saved)
    assert sorted(path.name for path in saved.iterdir()) == ["agent.json", "agent.safetensors"]
