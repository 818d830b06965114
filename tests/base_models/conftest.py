from pathlib import Path

import pytest

from tests.base_models.trees import write_fracatlas, write_mura


@pytest.fixture
def mura_root(tmp_path: Path) -> Path:
    return write_mura(tmp_path / "MURA-v1.1")


@pytest.fixture
def fracatlas_root(tmp_path: Path) -> Path:
    return write_fracatlas(tmp_path / "FracAtlas")


@pytest.fixture(scope="session")
def real_fracatlas() -> Path:
    root = Path(__file__).parents[3] / "shared" / "data" / "fracatlas"
    if not root.is_dir():
        pytest.skip(f"the reduced copy of FracAtlas is not in {root}")
    return root
