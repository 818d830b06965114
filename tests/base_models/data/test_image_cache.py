import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from base_models.data import image_cache
from base_models.data.image_cache import odd_images, open_image_cache
from base_models.imaging.decoding import SquareFormat, fit_into_square
from base_models.imaging.reader import Radiograph, file_digest, read_grey
from mura_env.errors import UserFileNotFoundError
from tests.base_models.imaging.dicoms import write_dicom
from tests.base_models.trees import picture, save_picture


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        save_picture(path, picture(i, shape=(60 + i, 40)))
    return paths


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Small parts, and which of them were built: the names of their files."""
    built: list[tuple[str, ...]] = []
    fill = image_cache._fill

    def record(images: np.ndarray, placed: np.ndarray, paths: list[Path], found: object) -> object:
        built.append(tuple(path.stem for path in paths))
        return fill(images, placed, paths, found)

    monkeypatch.setattr(image_cache, "PART_ROWS", 2)
    monkeypatch.setattr(image_cache, "_fill", record)
    return built


def _open(paths: list[Path], directory: Path, size: int = 24) -> np.ndarray:
    return np.array(open_image_cache(paths, SquareFormat(size), directory / "cache").images)


def test_rows_hold_the_fitted_images(paths: list[Path], tmp_path: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache", lambda *call: calls.append(call))
    assert cache.images.shape == (5, 24, 24)
    assert cache.images.dtype == np.uint8
    assert calls[-1] == ("reading radiographs", 5, 5)
    for path in paths:
        np.testing.assert_array_equal(cache.images[cache.rows[path]], fit_into_square(read_grey(path), 24))


def test_unreadable_images_are_black_rows(paths: list[Path], tmp_path: Path) -> None:
    expected = _open(paths, tmp_path)
    paths[3].write_bytes(b"no image")
    expected[3] = 0
    cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    np.testing.assert_array_equal(cache.images, expected)
    assert set(cache.unreadable) == {paths[3]}


def test_an_unchanged_cache_is_not_built_again(paths: list[Path], tmp_path: Path, built: list) -> None:
    first = _open(paths, tmp_path)
    assert built == [("0", "1"), ("2", "3"), ("4",)]
    np.testing.assert_array_equal(_open(paths, tmp_path), first)
    assert len(built) == 3


def test_changed_files_sizes_and_orders_have_their_own_cache(paths: list[Path], tmp_path: Path) -> None:
    files = {open_image_cache(paths, SquareFormat(24), tmp_path / "cache").file}
    files.add(open_image_cache(paths, SquareFormat(32), tmp_path / "cache").file)
    files.add(open_image_cache(paths[::-1], SquareFormat(24), tmp_path / "cache").file)
    os.utime(paths[0], (1, 1))
    files.add(open_image_cache(paths, SquareFormat(24), tmp_path / "cache").file)
    assert len(files) == 4


def test_the_digest_is_of_the_pixels_alone(paths: list[Path], tmp_path: Path) -> None:
    digest = open_image_cache(paths, SquareFormat(24), tmp_path / "cache").digest
    (tmp_path / "copy").mkdir()
    copies = [tmp_path / "copy" / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        copy.write_bytes(path.read_bytes())
        os.utime(copy, (1, 1))
    again = open_image_cache(copies, SquareFormat(24), tmp_path / "cache")
    assert again.digest == digest
    assert list(again.files) == [file_digest(path.read_bytes()) for path in paths]  # known again one by one
    assert len(set(again.files)) == len(paths)
    others = {open_image_cache(paths, SquareFormat(32), tmp_path / "cache").digest}
    others.add(open_image_cache(paths[::-1], SquareFormat(24), tmp_path / "cache").digest)
    save_picture(copies[1], picture(99, shape=(50, 50)))
    others.add(open_image_cache(copies, SquareFormat(24), tmp_path / "cache").digest)
    assert len(others | {digest}) == 4


def test_a_changed_image_is_read_anew(paths: list[Path], tmp_path: Path) -> None:
    _open(paths, tmp_path)
    save_picture(paths[1], picture(99, shape=(50, 50)))
    np.testing.assert_array_equal(_open(paths, tmp_path)[1], fit_into_square(read_grey(paths[1]), 24))


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("name", "damage", "rebuilt"),
    [
        ("images.npy", lambda content: _flip(content, len(content) - 1), [("4",)]),
        ("images.npy", lambda content: _flip(content, len(content) - 3 * 24 * 24), [("2", "3")]),
        ("images.npy", lambda content: _flip(content, 20), "all"),  # the header
        ("images.npy", lambda content: content[:-1], []),
        ("images.npy", lambda content: content[:-700], [("2", "3"), ("4",)]),
        ("images.npy", lambda content: content + b"\0", []),
        ("images.npy", lambda content: b"", "all"),
        ("images.npy", None, "all"),
        ("manifest.json", lambda content: content[:-20], "all"),
        ("manifest.json", lambda content: b"[]", "all"),
        ("manifest.json", lambda content: content.replace(b'"unreadable": {}', b'"unreadable": 5'), "all"),
        ("manifest.json", lambda content: content.replace(b'"misnamed": {}', b'"misnamed": null'), "all"),
        ("manifest.json", lambda content: content.replace(b'"digest"', b'"other"'), "all"),
        ("manifest.json", lambda content: content.replace(b'"key": "', b'"key": "0'), "all"),
        ("manifest.json", None, "all"),
    ],
)
def test_a_damaged_cache_is_noticed_and_rebuilt(
    paths: list[Path], tmp_path: Path, built: list, *, name: str, damage, rebuilt
) -> None:
    expected = _open(paths, tmp_path)
    everything = list(built)
    built.clear()
    (file,) = tmp_path.glob(f"cache/*/{name}")
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(_open(paths, tmp_path), expected)
    assert built == (everything if rebuilt == "all" else rebuilt)
    built.clear()
    _open(paths, tmp_path)
    assert built == []


def test_an_interrupted_build_goes_on(
    paths: list[Path], tmp_path: Path, built: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _open(paths, tmp_path / "whole")
    built.clear()
    read = image_cache.read_file

    def interrupted(path: Path) -> bytes:
        if path == paths[3]:
            raise KeyboardInterrupt
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(image_cache, "read_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            _open(paths, tmp_path)
    assert built == [("0", "1"), ("2", "3")]
    built.clear()
    np.testing.assert_array_equal(_open(paths, tmp_path), expected)
    assert built == [("2", "3"), ("4",)]


def test_a_build_goes_on_behind_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "images" / f"{i}.png" for i in range(40)]
    for i, path in enumerate(paths):
        save_picture(path, picture(i, shape=(60, 48)))
    script = """
import os, signal, sys
from pathlib import Path
from base_models.data import image_cache
from base_models.imaging.decoding import SquareFormat
image_cache.PART_ROWS = 4
root = Path(sys.argv[1])
paths = [root / "images" / f"{i}.png" for i in range(40)]
fill = image_cache._fill

def dying_fill(images, placements, of_part, found):
    if of_part[0] == paths[12]:  # the fourth part
        os.kill(os.getpid(), signal.SIGKILL)
    return fill(images, placements, of_part, found)

image_cache._fill = dying_fill
image_cache.open_image_cache(paths, SquareFormat(64), root / "cache")
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (manifest,) = tmp_path.glob("cache/*/manifest.json")
    assert len(json.loads(manifest.read_text())["parts"]) == 3
    monkeypatch.setattr(image_cache, "PART_ROWS", 4)
    calls: list[int] = []
    cache = open_image_cache(paths, SquareFormat(64), tmp_path / "cache", lambda _, n, total: calls.append(n))
    assert calls == [12, 40]
    for path in paths:
        np.testing.assert_array_equal(cache.images[cache.rows[path]], fit_into_square(read_grey(path), 64))


def test_files_that_cannot_be_reached_are_unreadable(paths: list[Path], tmp_path: Path) -> None:
    strange = [tmp_path / f"{'x' * 300}.png", tmp_path / "a\0b.png", paths[0] / "below a file.png"]
    cache = open_image_cache([*paths, *strange], SquareFormat(24), tmp_path / "cache")
    assert set(cache.unreadable) == set(strange)
    assert all(cache.unreadable[path].startswith(f"{path}: ") for path in strange)


def test_unreadable_images_are_collected_and_tried_again(
    paths: list[Path], tmp_path: Path, built: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths[1].write_bytes(b"no image")
    paths[3].unlink()
    for _ in range(2):  # built, then opened
        cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
        assert set(cache.unreadable) == {paths[1], paths[3]}
        assert all(str(path) in reason for path, reason in cache.unreadable.items())
        assert not cache.images[cache.rows[paths[1]]].any()
    assert len(built) == 3
    decode = image_cache.decode

    def with_a_library(path: Path, data: bytes, at_least: int | None = None) -> Radiograph:
        known = Radiograph(picture(7), 1, 1, "L", "a new kind")
        return known if path == paths[1] else decode(path, data, at_least)

    monkeypatch.setattr(image_cache, "decode", with_a_library)
    cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    assert set(cache.unreadable) == {paths[3]}
    np.testing.assert_array_equal(cache.images[cache.rows[paths[1]]], fit_into_square(picture(7), 24))
    assert built[3:] == [("0", "1")]


def test_names_that_say_something_else_than_the_content_are_kept(paths: list[Path], tmp_path: Path) -> None:
    jpeg = tmp_path / "other.png"
    Image.open(paths[0]).save(jpeg, format="JPEG")
    for _ in range(2):  # built, then opened
        cache = open_image_cache([*paths, jpeg], SquareFormat(24), tmp_path / "cache")
        assert set(cache.misnamed) == {jpeg}
        assert "content is JPEG" in cache.misnamed[jpeg]
        assert not cache.unreadable
        assert cache.images[cache.rows[jpeg]].any()


def test_names_that_are_not_utf_8_are_kept(paths: list[Path], tmp_path: Path) -> None:
    good, bad = (Path(os.fsdecode(os.fsencode(tmp_path) + name)) for name in (b"/\xff.png", b"/bad\xe9.png"))
    paths[0].rename(good)
    bad.write_bytes(b"no image")
    for _ in range(2):  # built, then opened
        cache = open_image_cache([good, bad], SquareFormat(24), tmp_path / "cache")
        assert cache.images[cache.rows[good]].any()
        assert set(cache.unreadable) == {bad}


def test_a_cache_is_known_again_from_another_folder(
    paths: list[Path], built: list[tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_image_cache(paths, SquareFormat(16), tmp_path / "cache")
    assert built
    built.clear()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = open_image_cache([Path("..", path.name) for path in paths], SquareFormat(16), tmp_path / "cache")
    assert (again.file, again.digest) == (first.file, first.digest)
    assert built == []


def test_odd_images_are_told_and_kept(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(30)]
    for i, path in enumerate(paths):
        pixels = np.full((40, 30), 20 + i, np.uint8)
        pixels[:, 10:18] = 200
        save_picture(path, 255 - pixels if i == 4 else pixels)
    save_picture(paths[7], np.full((40, 30), 99, np.uint8))
    (tmp_path / "bad.png").write_bytes(b"no image")
    for _ in range(2):  # built, then opened
        cache = open_image_cache([*paths, tmp_path / "bad.png"], SquareFormat(24), tmp_path / "cache")
        found = odd_images(cache)
        assert list(found) == [paths[4], paths[7]]
        assert "inverted" in found[paths[4]]
        assert "nearly of one grey" in found[paths[7]]


def test_remarks_of_files_that_contradict_themselves_are_kept(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 1200).reshape(30, 40).astype(np.uint16)
    good, odd = (tmp_path / name for name in ("good.dcm", "odd.dcm"))
    write_dicom(good, ramp)
    write_dicom(odd, ramp, WindowCenter=9000, WindowWidth=10)
    for _ in range(2):
        cache = open_image_cache([good, odd], SquareFormat(24), tmp_path / "cache")
        np.testing.assert_array_equal(*cache.images)
        assert list(cache.remarks) == list(odd_images(cache)) == [odd]
        assert "window leaves nothing" in odd_images(cache)[odd]


@pytest.mark.parametrize("name", ["images.npy", "manifest.json"])
def test_a_pipe_in_place_of_a_file_of_the_cache_is_refused_at_once(
    paths: list[Path], tmp_path: Path, name: str
) -> None:
    file = open_image_cache(paths, SquareFormat(24), tmp_path / "cache").file.with_name(name)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserFileNotFoundError, match=f"got the pipe {file}"):
        open_image_cache(paths, SquareFormat(24), tmp_path / "cache")


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("is_alike", [True, False])
def test_a_file_behind_a_link_is_not_written(
    paths: list[Path], tmp_path: Path, link: Callable[[Path, Path], None], *, is_alike: bool
) -> None:
    cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    expected, victim = np.array(cache.images), tmp_path / "victim.npy"
    np.save(victim, np.full(expected.shape if is_alike else (3,), 7, np.uint8))
    before = victim.read_bytes()
    cache.file.unlink()
    link(cache.file, victim)
    again = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    np.testing.assert_array_equal(again.images, expected)
    assert victim.read_bytes() == before
    assert not again.file.is_symlink()
    assert [path.name for path in again.file.parent.iterdir() if path.name.startswith(".")] == []
