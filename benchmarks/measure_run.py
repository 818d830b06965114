"""What a finished run's use is worth, as documents show it: heat maps, unlike images, speed.

Hit rates: how often the hottest point of a map lies in an expert's box (as it is, and widened), beside chance
and beside random weights. Unlike images: how many of some chest films (drawn), photographs (scikit-learn's),
noise, and of the run's test radiographs inverted and upside down are marked, and how many test studies: false
alarms. Speed: as in `bench_predict.py`, on the test studies.

    python benchmarks/measure_run.py --run runs/mine
    python benchmarks/measure_run.py --run runs/mine --studies 1199 --json
    python benchmarks/measure_run.py --data MY_DATA --images 200   # unlike images alone, networks untrained
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import bench_predict
import cv2
import numpy as np
from document import Document, document_parser, print_document
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from untrained import untrained_pack

from base_models.datasets import open_dataset
from base_models.datasets.study import Study
from base_models.imaging.reader import read_grey
from mura_app import Ensemble
from mura_app.artifacts import dataset_of_run
from mura_app.inference.facts import MEASURED, REFERENCE, read_measured
from mura_app.inference.measure import measure
from mura_app.inference.unlike import TrainingImages
from mura_app.prediction import StudyPrediction
from mura_app.run_directory import RunDirectory
from mura_app.schema import HitRates

Image = NDArray[np.uint8]


def hits(rates: HitRates) -> Document:
    """Return the shares of radiographs with a hit, by box margin in percent of the longer side."""
    n = rates.n_images
    margins = [f"{100 * margin:.0f} %" for margin in rates.margins]

    def by_margin(values: Sequence[float]) -> Document:
        return dict(zip(margins, values, strict=True))

    return {
        "radiographs": n,
        "median_box": rates.median_box,
        "chance": by_margin(rates.chance),
        "maps": {
            f"{each.name}, {each.kind}": {
                "hits": by_margin([count / n for count in each.hits]),
                "random_weights": None
                if each.random_hits is None
                else by_margin([count / n for count in each.random_hits]),
            }
            for each in rates.maps
        },
    }


def unlike(ensemble: Ensemble, studies: Sequence[Study], n_images: int) -> Document:
    """Return how many images of each kind are marked; each is asked about alone, without its body part."""
    test = [read_grey(study.image_paths[0]) for study in studies[:n_images]]
    rng = np.random.default_rng(0)
    kinds = {
        "test radiographs": test,
        "chest films": [chest_film(rng) for _ in range(n_images)],
        "photographs": [*photographs()][:n_images],
        "noise": [rng.integers(0, 256, (256, 200)).astype(np.uint8) for _ in range(n_images)],
        "inverted": [255 - image for image in test],
        "upside down": [np.ascontiguousarray(image[::-1, ::-1]) for image in test],
    }
    marked = {
        kind: sum(bool(found.unlike and found.unlike.is_unlike) for found in map(ensemble.predict, images))
        for kind, images in kinds.items()
    }
    return {kind: {"marked": marked[kind], "of": len(images)} for kind, images in kinds.items()}


def of_run(path: Path, n_images: int, n_studies: int | None) -> Document:
    """Measure a run on its own data; what it does not know of itself yet is written into it."""
    run = RunDirectory(path)
    dataset = dataset_of_run(run)
    if dataset is None:
        raise SystemExit("expected a run whose data set is still in its place")
    known = (path / MEASURED).is_file() and TrainingImages.is_saved(path / REFERENCE)
    measured = read_measured(path / MEASURED) if known else measure(run, dataset)
    ensemble, test, found = Ensemble.load(path), dataset.of_split("test"), measured.unlike
    return {
        "agent": ensemble.facts.agent,
        "hit_rates": measured.hit_rates and hits(measured.hit_rates),
        "unlike": unlike(ensemble, test, n_images),
        "false_alarms": found and {"marked": found.n_marked, "of": found.n_studies},
        **bench_predict.measure(path, ensemble, test, n_studies or len(test)),
    }


def of_data(data: Path, n_images: int) -> Document:
    """Measure on some data what can be without a training: how unlike images are, the networks untrained."""
    dataset = open_dataset(data)
    test = dataset.of_split("test")
    with tempfile.TemporaryDirectory() as folder:
        pack = untrained_pack(Path(folder) / "pack", "demo", dataset.of_split("train"))
        ensemble = Ensemble.load(pack)
        results = [found for found in ensemble.predict_studies(test) if isinstance(found, StudyPrediction)]
        marked = sum(bool(found.unlike and found.unlike.is_unlike) for found in results)
        return {
            "unlike": unlike(ensemble, test, n_images),
            "false_alarms": {"marked": marked, "of": len(results)},
        }


def show_unlike(found: Document) -> None:
    """Print how many images of each kind are marked."""
    counts = {**found["unlike"], "false alarms on test studies": found["false_alarms"]}
    for kind, count in counts.items():
        if count is not None:
            print(f"{kind}: {count['marked']} of {count['of']} marked as unlike")


def show(found: Document) -> None:
    """Print what was measured, a line each."""
    rates = found["hit_rates"]
    if rates is None:
        print("heat maps: no boxes to measure by")
    else:
        chance = ", ".join(f"{share:.1%} (box + {m})" for m, share in rates["chance"].items())
        print(f"heat maps, {rates['radiographs']:,} radiographs with boxes; by chance {chance}")
        for name, each in rates["maps"].items():
            random = each["random_weights"] or {}
            words = [
                f"{share:.1%} (box + {m}; random weights {random[m]:.1%})" if m in random else f"{share:.1%}"
                for m, share in each["hits"].items()
            ]
            print(f"  {name}: {', '.join(words)}")
    show_unlike(found)
    bench_predict.show(found)


def main() -> None:
    parser = document_parser(__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", type=Path, help="a finished run, its data in their place")
    what.add_argument("--data", type=Path, help="a data set, for unlike images alone")
    parser.add_argument("--images", type=int, default=60, help="of each kind of unlike ones")
    parser.add_argument("--studies", type=int, help="predicted for the speed; by default the test studies")
    options = parser.parse_args()
    if options.data is not None:
        print_document(of_data(options.data, options.images), show_unlike, options.json)
    else:
        print_document(of_run(options.run, options.images, options.studies), show, options.json)


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
