from pathlib import Path

import numpy as np

from base_models.data.image_cache import open_image_cache
from base_models.data.leakage import images_of_several_patients
from base_models.datasets import Study
from base_models.imaging.decoding import SquareFormat
from tests.base_models.trees import picture, save_picture


def test_only_equal_images_of_several_patients_are_found(tmp_path: Path) -> None:
    grey = np.full((20, 30), 90, dtype=np.uint8)
    pixels = {"a": picture(1), "b": picture(1), "c": picture(2), "d": picture(2), "e": grey, "f": grey}
    paths = {name: tmp_path / f"{name}.png" for name in pixels}
    for name, path in paths.items():
        save_picture(path, pixels[name])
    patients = {"a": "p", "b": "q", "c": "r", "d": "r", "e": "p", "f": "q"}
    studies = [Study(name, patients[name], "HAND", 0, "train", (paths[name],)) for name in pixels]
    cache = open_image_cache(list(paths.values()), SquareFormat(24), tmp_path / "cache")
    assert images_of_several_patients(studies, cache) == [[str(paths["a"]), str(paths["b"])]]


def test_an_image_that_stands_in_three_studies_is_one_group(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, seed in zip(paths, (5, 6, 5, 5), strict=True):
        save_picture(path, picture(seed))
    studies = [Study(path.stem, f"patient{path.stem}", "HAND", 0, "train", (path,)) for path in paths]
    cache = open_image_cache(paths, SquareFormat(24), tmp_path / "cache")
    assert images_of_several_patients(studies, cache) == [[str(paths[i]) for i in (0, 2, 3)]]
