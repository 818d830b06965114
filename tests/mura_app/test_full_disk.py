"""Where the disk is full, or a file too large, each writer names its file and leaves nothing of it."""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import make_agent
from base_models import checkpoint_import, storage
from base_models.data import image_cache
from base_models.imaging.decoding import SquareFormat
from base_models.storage import save_tensors
from base_models.synthetic import tree as synthetic_tree
from mura_app.errors import user_message
from mura_env import Predictions
from mura_env.utils.files import replacing, write_json, write_text
from tests.base_models.trees import picture, save_picture

LIMIT = 4096
TABLE = Predictions.from_arrays(np.random.default_rng(0).normal(size=(900, 3, 2)), np.arange(900) % 2)


@contextmanager
def limited_files(size: int = LIMIT) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as `ulimit -f` does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def save_agent(folder: Path) -> None:
    make_agent("knora_u").fit(TABLE).save(folder)


def build_cache(folder: Path, limit: int = LIMIT) -> None:
    images = [folder.parent / "images" / f"{number}.png" for number in range(3)]
    for number, path in enumerate(images):
        save_picture(path, picture(number, 0))
    with limited_files(limit):
        image_cache.open_image_cache(images, SquareFormat(64), folder)


WRITERS: dict[str, Callable[[Path], object]] = {
    "table.npz": TABLE.save,
    "table.csv": TABLE.to_csv,
    "network.safetensors": lambda path: save_tensors({"weight": torch.zeros(9000)}, path, {}),
    "facts.json": lambda path: write_json(path, list(range(9000))),
    "page.html": lambda path: write_text(path, "x" * 9000),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_grows_too_large_is_named_and_the_old_one_stays(tmp_path, name):
    (tmp_path / name).write_text("old")
    with limited_files(), pytest.raises(OSError, match="File too large") as caught:
        WRITERS[name](tmp_path / name)
    assert f"got File too large for {tmp_path / name}; raise the limit" in str(user_message(caught.value))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_an_agent_is_saved_whole_or_not_at_all(tmp_path):
    with limited_files(), pytest.raises(OSError, match=r"File too large: .*agent\.safetensors"):
        save_agent(tmp_path / "agent")
    assert list((tmp_path / "agent").iterdir()) == []


def test_an_image_cache_takes_its_space_before_it_is_filled(tmp_path, monkeypatch):
    with pytest.raises(OSError, match=r"File too large: .*images\.npy"):
        build_cache(tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*/*"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: .*images\.npy"):
        build_cache(tmp_path / "cache", limit=10**9)
    assert not list(tmp_path.glob("cache/*/*"))


def test_a_disk_without_room_for_another_file_is_told_with_the_file_that_was_to_be(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / ".table.npz.x1y2"))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    with pytest.raises(OSError, match=f"{tmp_path}/table.npz'"):
        TABLE.save(tmp_path / "table.npz")


def test_synthetic_radiographs_that_do_not_fit_are_told_with_their_folder(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(synthetic_tree, "_write_patient", full)
    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/tree'"):
        synthetic_tree.synthesize(tmp_path / "tree", 4, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("options", [("uniform", {}), ("reinforce", {"total_steps": 3000})])
def test_curves_that_do_not_fit_are_told_with_their_folder(tmp_path, options):
    agent = make_agent(options[0], tensorboard_dir=str(tmp_path), **options[1])
    with limited_files(100), pytest.raises(OSError, match="File too large") as caught:
        agent.fit(TABLE, seed=0)
    assert f"got File too large for {tmp_path}/{agent.name}-seed0; raise" in str(user_message(caught.value))


def test_an_error_that_names_another_file_keeps_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), replacing(tmp_path / "file"):
        (tmp_path / "other").read_text()


@pytest.mark.parametrize("module", [storage, checkpoint_import])
def test_no_library_writes_a_file_itself(module):
    assert not hasattr(module, "save_file")
