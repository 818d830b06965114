import os
import random
import subprocess
import sys
from collections import Counter

import albumentations
import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision import transforms
from torchvision.transforms.functional import _get_inverse_affine_matrix

from base_models.data.augmentation import PRESETS, Augmentation, Warp, create_augmentation
from base_models.imaging.decoding import resize
from tests.base_models.trees import picture

IMAGE = picture(5, shape=(48, 48))


def test_importing_looks_nothing_up_on_the_network() -> None:
    # albumentations swallows errors of its look-up, so calls are recorded rather than refused.
    script = """
import socket, urllib.request
calls = []
def record(*args, **kwargs):
    calls.append(args)
    raise OSError
socket.getaddrinfo = socket.create_connection = urllib.request.urlopen = record
urllib.request.OpenerDirector.open = record
import base_models.data.augmentation, sys
assert "albumentations" in sys.modules and not calls, calls
"""
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-W", "error", "-c", script]
    subprocess.run(command, check=True, env=environment)  # a fixed script


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("size", [24, 48])
def test_draws_depend_on_the_seed_of_the_sample_only(preset: str, size: int) -> None:
    one, other = create_augmentation(preset, size), create_augmentation(preset, size)
    in_order = [one(IMAGE, seed) for seed in range(12)]
    np.random.seed(0)  # noqa: NPY002  # whatever the global generators are at
    backwards = [other(IMAGE, seed) for seed in reversed(range(12))][::-1]
    for a, b in zip(in_order, backwards, strict=True):
        assert a.shape == (size, size)
        assert a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
    least = {"none": 1, "flips": 4}.get(preset, 9)
    assert len({a.tobytes() for a in in_order}) >= least


def test_the_traps_of_the_library_are_still_there() -> None:
    """If this fails, the library has changed and `Augmentation` may become simpler."""
    flips = [albumentations.HorizontalFlip(p=0.5), albumentations.VerticalFlip(p=0.5)]
    # A seeded pipeline repeats its draws in every process and epoch that builds it anew …
    first, second = (
        [albumentations.Compose(flips, seed=7)(image=IMAGE)["image"] for _ in range(1)] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    # … global seeds have no effect …
    unseeded = albumentations.Compose([albumentations.RandomBrightnessContrast(p=1.0)])
    outputs = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002  # the trap itself
        outputs.append(unseeded(image=IMAGE)["image"])
    assert not np.array_equal(*outputs)
    # … and `set_random_seed` gives every transform the same stream: both flips or none.
    pipeline = albumentations.Compose(flips)
    seen = set()
    for seed in range(40):
        pipeline.set_random_seed(seed)
        seen.add(pipeline(image=IMAGE)["image"].tobytes())
    assert len(seen) == 2


def test_the_two_flips_are_drawn_independently() -> None:
    flips = create_augmentation("flips", 48)
    counts: dict[bytes, int] = {}
    for seed in range(200):
        key = flips(IMAGE, seed).tobytes()
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 4
    assert min(counts.values()) > 25


WARPS = (albumentations.Rotate, albumentations.Affine)
LIBRARY = {
    "rlensemble_v1": [
        albumentations.RandomResizedCrop((40, 40), scale=(0.8, 1.0), area_for_downscale="image"),
        albumentations.HorizontalFlip(p=0.5),
        albumentations.VerticalFlip(p=0.3),
        albumentations.Rotate(limit=(-20, 20), p=1.0),
        albumentations.Affine(
            rotate=(-20, 20),
            translate_percent=(-0.1, 0.1),
            scale=(0.85, 1.15),
            keep_ratio=True,
            shear={"x": (-10, 10), "y": (0, 0)},
            p=1.0,
        ),
        albumentations.OneOf(
            [
                albumentations.ColorJitter(brightness=(0.6, 1.4), contrast=(0.6, 1.4), p=1.0),
                albumentations.GaussianBlur(blur_limit=(3, 3), sigma_limit=(0.1, 2.0), p=1.0),
                albumentations.Equalize(p=1.0),
            ],
            p=1.0,
        ),
        albumentations.Erasing(scale=(0.02, 0.2), fill=64, p=0.2),
    ],
    "moderate": [
        albumentations.RandomResizedCrop((40, 40), scale=(0.8, 1.0), area_for_downscale="image"),
        albumentations.HorizontalFlip(p=0.5),
        albumentations.VerticalFlip(p=0.5),
        albumentations.Rotate(limit=(-20, 20), p=1.0),
        albumentations.Affine(translate_percent=(-0.1, 0.1), scale=(0.9, 1.1), shear=(-10, 10), p=1.0),
        albumentations.OneOf(
            [
                albumentations.ColorJitter(brightness=(0.8, 1.2), contrast=(0.8, 1.2), p=1.0),
                albumentations.GaussianBlur(blur_limit=3, p=1.0),
                albumentations.Equalize(p=1.0),
            ],
            p=0.5,
        ),
        albumentations.Erasing(scale=(0.02, 0.1), p=0.3),
    ],
    "standard": [
        albumentations.HorizontalFlip(p=0.5),
        albumentations.Affine(rotate=(-10, 10), scale=(0.9, 1.1), translate_percent=(-0.05, 0.05), p=0.7),
        albumentations.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    ],
}


@pytest.mark.parametrize("preset", LIBRARY)
def test_draws_and_pixels_are_those_of_the_librarys_pipeline(preset: str) -> None:
    """Of the published recipe all but the warp, which interpolates once where the library does twice."""
    steps, library = create_augmentation(preset, 40)._steps, LIBRARY[preset]
    if preset == "rlensemble_v1":
        steps = [step for step in steps if not isinstance(step, Warp)]
        library = [step for step in library if not isinstance(step, WARPS)]
    pipeline, augmentation = albumentations.Compose(library), Augmentation(steps, 40)
    for seed in range(120):
        generators = np.random.Generator(np.random.PCG64(seed)), random.Random(seed)  # noqa: S311
        pipeline.set_random_state(*generators)
        expected = resize(pipeline(image=np.array(IMAGE))["image"], 40)
        np.testing.assert_array_equal(augmentation(IMAGE, seed), expected)


def test_a_warp_moves_pixels_as_its_changes_do_after_one_another() -> None:
    """On a smooth image, and away from the margin, a second interpolation changes next to nothing."""
    rows, columns = np.mgrid[:160, :160] / 160
    smooth = (120 + 60 * np.sin(5 * rows + 2) + 60 * np.cos(4 * columns)).round().astype(np.uint8)
    library = [step for step in LIBRARY["rlensemble_v1"] if isinstance(step, WARPS)]
    warp = next(step for step in PRESETS["rlensemble_v1"](160) if isinstance(step, Warp))
    one_by_one, at_once = Augmentation(library, 160), Augmentation([warp], 160)
    seen = create_augmentation("none", 160)(np.full_like(smooth, 255), 0)
    moved = 0
    for seed in range(60):
        inside = one_by_one(seen, seed) == 255
        inside = cv2.erode(inside.astype(np.uint8), np.ones((5, 5))) > 0
        expected, found = one_by_one(smooth, seed).astype(int), at_once(smooth, seed).astype(int)
        assert np.abs(expected - found)[inside].max() <= 2
        assert inside.mean() > 0.4
        moved += np.abs(found - smooth)[inside].max() > 10
    assert moved > 50


def _quantiles(values: list[float]) -> NDArray[np.float64]:
    return np.quantile(values, [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98])


def _draws(step: int, image: NDArray[np.uint8], n_draws: int) -> list[NDArray[np.uint8]]:
    """Results of one step of the published recipe."""
    only = Augmentation([create_augmentation("rlensemble_v1", len(image))._steps[step]], len(image))
    return [only(image, seed) for seed in range(n_draws)]


def test_affine_changes_of_the_published_recipe_are_drawn_as_by_its_library() -> None:
    """The published script draws with torchvision: compared are size, distortion and shift, by quantiles."""
    affine = create_augmentation("rlensemble_v1", 160)._steps[3].changes[1]
    ours, theirs = [], []
    torch.manual_seed(0)
    for seed in range(3000):
        ours.append(affine.draw(random.Random(seed), 160, 160))  # noqa: S311
        angle, shift, scale, shear = transforms.RandomAffine.get_params(
            [-20, 20], (0.1, 0.1), (0.85, 1.15), [-10, 10], [160, 160]
        )
        back = _get_inverse_affine_matrix([79.5, 79.5], angle, list(shift), scale, list(shear))
        theirs.append(np.linalg.inv(np.vstack([np.reshape(back, (2, 3)), [0, 0, 1]]))[:2])
    middle = np.array([79.5, 79.5, 1.0])
    for measure, tolerance in (
        (lambda m: np.sqrt(np.linalg.det(m[:, :2])), 0.02),  # of scale
        (lambda m: np.linalg.cond(m[:, :2]), 0.02),  # of shear, whatever the rotation
        (lambda m: (m @ middle - middle[:2])[0], 1.5),  # of the shift, in pixels
        (lambda m: (m @ middle - middle[:2])[1], 1.5),
        (lambda m: np.degrees(np.arctan2(m[1, 0], m[0, 0])), 2.0),  # where the x axis points
    ):
        expected, found = (_quantiles([float(measure(matrix)) for matrix in side]) for side in (theirs, ours))
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=tolerance)


def test_other_steps_of_the_published_recipe_keep_its_ranges() -> None:
    halves = np.zeros((40, 40), dtype=np.uint8)
    halves[:20] = 200
    assert np.mean([result[0, 0] == 0 for result in _draws(2, halves, 1000)]) == pytest.approx(0.3, abs=0.05)

    white = np.full((60, 60), 255, dtype=np.uint8)
    erased = [float((result == 64).mean()) for result in _draws(5, white, 2000)]
    assert np.mean(np.array(erased) > 0) == pytest.approx(0.2, abs=0.03)
    torch.manual_seed(0)
    areas = []
    while len(areas) < 400:
        _, _, height, width, _ = transforms.RandomErasing.get_params(
            torch.zeros(1, 60, 60), (0.02, 0.2), (0.3, 3.3), [0.0]
        )
        areas.append(height * width / 3600)
    found = [area for area in erased if area]
    np.testing.assert_allclose(_quantiles(found), _quantiles(areas), atol=0.025)

    point = np.zeros((41, 41), dtype=np.uint8)
    point[20, 20] = 255
    grey = np.full((41, 41), 100, dtype=np.uint8)
    kinds: Counter[str] = Counter()
    peaks, levels = [], []
    for blurred, level in zip(_draws(4, point, 1500), _draws(4, grey, 1500), strict=True):
        if level[0, 0] != 100:  # of jitter brightness shows on an even grey, and never blur
            kinds["jitter"] += 1
            levels.append(level[0, 0] / 100)
        elif (blurred > 0).sum() > 1 and blurred[0, 0] == 0:
            kinds["blur"] += 1
            assert not blurred[:19].any()  # three pixels wide
            peaks.append(blurred[20, 20] / 255)
        else:
            kinds["equalise"] += 1
    assert min(kinds.values()) > 400
    assert min(levels) == pytest.approx(0.6, abs=0.02)
    assert max(levels) == pytest.approx(1.4, abs=0.02)
    assert 0.125 < min(peaks) < 0.14  # of a deviation of 2: 1 / (1 + 2 exp(-1/8))²


def test_a_share_of_the_images_goes_through_the_preset_and_the_others_are_flipped() -> None:
    flipped = {view.tobytes() for view in (IMAGE, IMAGE[:, ::-1], IMAGE[::-1], IMAGE[::-1, ::-1])}
    whole, some = (
        create_augmentation("rlensemble_v1", 48),
        create_augmentation("rlensemble_v1", 48, share=0.3),
    )
    changed, seen = 0, set()
    for seed in range(400):
        result = some(IMAGE, seed)
        if result.tobytes() in flipped:
            seen.add(result.tobytes())
        else:
            changed += 1
            np.testing.assert_array_equal(result, whole(IMAGE, seed))
    assert seen == flipped
    assert 90 < changed < 150  # 120 ± 3 standard deviations
    one_way = create_augmentation("standard", 48, share=0.0)
    assert {one_way(IMAGE, seed).tobytes() for seed in range(40)} == {
        IMAGE.tobytes(),
        IMAGE[:, ::-1].tobytes(),
    }


def test_larger_images_are_changed_at_their_size_and_then_reduced() -> None:
    crop = albumentations.RandomResizedCrop((48, 48), scale=(0.8, 1.0), area_for_downscale="image")
    library = albumentations.Compose([crop, *LIBRARY["moderate"][1:]])
    augmentation = create_augmentation("moderate", 24, side=48)
    for seed in range(30):
        library.set_random_state(np.random.Generator(np.random.PCG64(seed)), random.Random(seed))  # noqa: S311
        expected = library(image=np.array(IMAGE))["image"].reshape(24, 2, 24, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(augmentation(IMAGE, seed), expected, atol=0.51)


def test_no_augmentation_only_reduces() -> None:
    np.testing.assert_array_equal(create_augmentation("none", 24)(IMAGE, 3), resize(IMAGE, 24))
    blocks = IMAGE.reshape(24, 2, 24, 2).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(IMAGE, 24), blocks, atol=0.51)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an augmentation among .*got 'heavy'"):
        create_augmentation("heavy", 24)
