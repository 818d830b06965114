import base64
import io

import cv2
import numpy as np
import pytest
from PIL import Image

from base_models.datasets import Dataset
from base_models.datasets.study import Study
from mura_app.report.thumbnails import SIDE, study_thumbnails


@pytest.fixture
def dataset(tmp_path):
    studies = []
    for index in range(3):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((200, 100), 60 * index + 40, np.uint8))
        studies.append(Study(f"study{index}", f"patient{index}", "hand", 0, "test", (path,)))
    (tmp_path / "2.png").write_bytes(b"no image")
    return Dataset("Three", tmp_path, ("normal", "abnormal"), ("hand",), tuple(studies))


def test_the_wanted_studies_are_drawn(dataset):
    found = study_thumbnails(dataset, {"study1", "elsewhere"})
    assert list(found) == ["study1"]
    prefix, encoded = found["study1"].split(",", 1)
    assert prefix == "data:image/jpeg;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))), dtype=np.float64)
    assert picture.shape == (SIDE, SIDE)
    assert picture[SIDE // 2, SIDE // 2] == pytest.approx(100, abs=3)
    assert picture[SIDE // 2, 0] == pytest.approx(0, abs=3)  # padded at its sides, not stretched


def test_unreadable_images_are_left_out(dataset):
    assert list(study_thumbnails(dataset, ["study0", "study2"])) == ["study0"]
