"""A built wheel works without the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("mura_env", "base_models", "agents", "mura_app")


def _run(*words: str | Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _files(folder: Path) -> set[Path]:
    paths = (path for package in PACKAGES for path in (folder / package).rglob("*"))
    return {path.relative_to(folder) for path in paths if path.is_file() and "__pycache__" not in path.parts}


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder_without_the_repository(tmp_path: Path) -> None:
    source, target, empty = (tmp_path / name for name in ("source", "target", "empty"))
    empty.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ".", folder=source)
    (wheel,) = tmp_path.glob("*.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--target", target, wheel, folder=empty)
    shutil.rmtree(source)
    assert _files(target) == _files(ROOT)  # pages, styles, scripts, JSON and marks of types among them
    command = target / "bin" / "mura"
    assert _run(command, "--version", folder=empty, PYTHONPATH=str(target)).startswith("mura ")
    assert "reinforce" in _run(command, "list", "agents", folder=empty, PYTHONPATH=str(target))
    where = _run(
        sys.executable,
        "-c",
        "import mura_app; print(mura_app.__file__)",
        folder=empty,
        PYTHONPATH=str(target),
    )
    assert Path(where.strip()).is_relative_to(target)
    assert not [*empty.iterdir()]
