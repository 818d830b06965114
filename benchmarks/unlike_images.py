"""Which unlike images a run notices, and how many of its own test studies it marks: false alarms.

Chest films (drawn), photographs (scikit-learn's), noise, and its test radiographs inverted and upside down.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from base_models.imaging.reader import read_grey
from mura_app import Ensemble
from mura_app.artifacts import dataset_of_run
from mura_app.run_directory import RunDirectory

Image = NDArray[np.uint8]
N_IMAGES = 60
"""Images of a kind."""


def main() -> None:
    """Print the share of each kind that is marked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=Path, required=True, help="a finished run whose data are in their place"
    )
    run = parser.parse_args().run
    ensemble, dataset = Ensemble.load(run), dataset_of_run(RunDirectory(run))
    if dataset is None:
        raise SystemExit("expected a run whose data set is still in its place")
    test = [read_grey(study.image_paths[0]) for study in dataset.of_split("test")[:N_IMAGES]]
    rng = np.random.default_rng(0)
    kinds = {
        "test radiographs": test,
        "chest films": [chest_film(rng) for _ in range(N_IMAGES)],
        "photographs": [*photographs()][:N_IMAGES],
        "noise": [rng.integers(0, 256, (256, 200)).astype(np.uint8) for _ in range(N_IMAGES)],
        "inverted": [255 - image for image in test],
        "upside down": [np.ascontiguousarray(image[::-1, ::-1]) for image in test],
    }
    for kind, images in kinds.items():
        found = [ensemble.predict(image).unlike for image in images]
        marked = sum(each is not None and each.is_unlike for each in found)
        print(f"{kind}: {marked} of {len(found)} marked")
    measured = ensemble.facts.measured
    if measured is not None and measured.unlike is not None:
        print(
            f"test studies: {measured.unlike.n_marked} of {measured.unlike.n_studies} marked (false alarms)"
        )


def photographs() -> Iterator[Image]:
    """Yield parts of the sample photographs, in grey."""
    for image in load_sample_images().images:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        for top in range(0, 200, 40):
            for left in range(0, 330, 50):
                yield np.ascontiguousarray(grey[top : top + 220, left : left + 300], dtype=np.uint8)


def chest_film(rng: np.random.Generator, side: int = 256) -> Image:
    """Draw a chest from the front: two lungs, ribs, spine and heart."""
    y, x = np.mgrid[0:side, 0:side] / side
    middle = 0.5 + 0.02 * rng.normal()
    body = ((x - middle) / 0.46) ** 2 + ((y - 0.55) / 0.6) ** 2 < 1
    film = np.where(body, 170.0, 10.0)
    for sign in (-1, 1):
        film[((x - middle - sign * 0.2) / 0.15) ** 2 + ((y - 0.5) / 0.33) ** 2 < 1] = 50
    for rib in range(8):
        film[(np.abs(y - 0.2 - 0.09 * rib - 0.5 * (np.abs(x - middle) - 0.2) ** 2) < 0.012) & body] += 35
    film[np.abs(x - middle) < 0.05] = 215
    film[((x - middle - 0.07) / 0.14) ** 2 + ((y - 0.65) / 0.13) ** 2 < 1] = 190
    noisy = cv2.GaussianBlur(film.astype(np.float32), (7, 7), 0) + rng.normal(0, 6, (side, side))
    return np.asarray(noisy.clip(0, 255), dtype=np.uint8)


if __name__ == "__main__":
    main()
