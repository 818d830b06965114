import os
from pathlib import Path

import pytest

from base_models.datasets import Dataset, open_dataset
from tests.base_models.trees import write_mura


def _index(dataset: Dataset) -> list[tuple[object, ...]]:
    return sorted(
        (s.study_id, s.patient_id, s.body_part, s.label, s.split, s.image_paths) for s in dataset.studies
    )


def test_the_index_is_what_the_folders_say(mura_root: Path) -> None:
    dataset = open_dataset(mura_root)
    assert (dataset.name, dataset.class_names) == ("MURA", ("normal", "abnormal"))
    assert dataset.body_part_names == ("XR_ELBOW", "XR_WRIST")
    expected = []
    for folder in sorted(mura_root.glob("*/XR_*/patient*/study*")):
        split, part, patient, study = folder.relative_to(mura_root).parts
        images = tuple(sorted(folder.iterdir()))
        label = int(study.endswith("positive"))
        side = {"train": "train", "valid": "test"}[split]
        expected.append((f"{split}/{part}/{patient}/{study}", patient, part, label, side, images))
    assert _index(dataset) == sorted(expected)


def test_csvs_headers_folders_and_parent_give_the_same_index(mura_root: Path) -> None:
    by_csv = open_dataset(mura_root)
    assert _index(open_dataset(mura_root.parent)) == _index(by_csv)
    for file in mura_root.glob("*.csv"):
        file.write_text("path,label\n" + file.read_text())
    assert _index(open_dataset(mura_root)) == _index(by_csv)
    for file in mura_root.glob("*.csv"):
        file.unlink()
    assert _index(open_dataset(mura_root)) == _index(by_csv)


def test_a_renamed_folder_works(mura_root: Path) -> None:
    renamed = mura_root.rename(mura_root.parent / "mura")
    assert len(open_dataset(renamed).studies) == 28


def test_folders_further_up_may_be_called_like_a_split(mura_root: Path) -> None:
    before = open_dataset(mura_root)
    for name in ("train", "valid"):
        for kind in ("image_paths", "labeled_studies"):
            file = mura_root / f"{name}_{kind}.csv"
            lines = [f"data/{name}/old/{line}" for line in file.read_text().splitlines()]
            file.write_text("\n".join(lines) + "\n")
    assert open_dataset(mura_root) == before


def test_views_are_in_natural_order_and_hidden_files_are_no_images(tmp_path: Path) -> None:
    root = write_mura(tmp_path, csvs=False)
    folder = next(root.glob("train/*/*/study1_*"))
    source = (folder / "image1.png").read_bytes()
    for name in ("image10.png", "image2.png", "._image1.png", "notes.txt"):
        (folder / name).write_bytes(source)
    dataset = open_dataset(root)
    study = next(s for s in dataset.studies if s.image_paths[0].parent == folder)
    assert [path.name for path in study.image_paths] == ["image1.png", "image2.png", "image10.png"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",1\n", ",0\n", 1), "expected folder and CSV to agree"),
        (lambda text: text.partition("\n")[2], "expected a label for"),
        (lambda text: text.replace(",1\n", ",positive\n", 1), "expected a label 0 or 1"),
        (
            lambda text: text + "MURA-v1.1/train/XR_HAND/patient09999/study1_positive/,1\n",
            "got none for train/XR_HAND/patient09999/study1_positive;",
        ),
        (
            lambda text: text + "MURA-v1.1/../XR_HAND/patient09999/study1_positive/,1\n",
            "expected paths through",
        ),
    ],
)
def test_contradictions_between_folders_and_csv_are_named(mura_root: Path, change, message: str) -> None:
    file = mura_root / "train_labeled_studies.csv"
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError, match=message):
        open_dataset(mura_root)


def test_an_unchecked_index_lists_all_contradictions(mura_root: Path) -> None:
    file = mura_root / "train_labeled_studies.csv"
    lines = file.read_text().splitlines()
    flipped = [line[:-1] + str(1 - int(line[-1])) for line in lines[:3]]
    file.write_text("\n".join([*flipped, *lines[3:]]) + "\n")
    with pytest.raises(ValueError, match=r"and 2 more; `mura check-data` lists all"):
        open_dataset(mura_root)
    dataset = open_dataset(mura_root, check=False)
    assert len(dataset.contradictions) == 3
    for line, sentence in zip(flipped, dataset.contradictions, strict=True):
        assert line.removeprefix("MURA-v1.1/").rpartition("/")[0] in sentence


def test_a_foreign_folder_below_a_split_is_named(tmp_path: Path) -> None:
    root = write_mura(tmp_path, csvs=False)
    image = next(root.glob("train/*/*/*/image1.png"))
    stray = root / "train" / "XR_WRIST" / "image1.png"
    stray.write_bytes(image.read_bytes())
    with pytest.raises(ValueError, match=r"got 'train/XR_WRIST/image1.png'"):
        open_dataset(root)


def test_a_missing_split_is_an_empty_one(tmp_path: Path) -> None:
    root = write_mura(tmp_path, {"train": 4})
    with pytest.raises(ValueError, match="got an empty test split"):
        open_dataset(root)


def test_linked_parts_are_walked_and_circles_end(tmp_path: Path) -> None:
    root = write_mura(tmp_path / "MURA-v1.1", csvs=False)
    expected = _index(open_dataset(root))
    part = root / "train" / "XR_WRIST"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    assert _index(open_dataset(root)) == expected
    patient = next(part.iterdir())
    (patient / "study9_positive").symlink_to(root / "train")
    assert _index(open_dataset(root)) == expected


def test_a_byte_order_mark_and_a_header_are_no_paths(mura_root: Path) -> None:
    expected = _index(open_dataset(mura_root))
    for file in mura_root.glob("*.csv"):
        file.write_text(file.read_text(), encoding="utf-8-sig")
    assert _index(open_dataset(mura_root)) == expected


@pytest.mark.parametrize("content", ["{path}\u00e9.png\n", "{path}/,1\u00e9\n"])
@pytest.mark.parametrize("name", ["train_image_paths.csv", "valid_labeled_studies.csv"])
def test_a_csv_in_another_encoding_is_named(mura_root: Path, name: str, content: str) -> None:
    (mura_root / name).write_bytes(content.format(path="MURA-v1.1/train/XR_HAND/p/s").encode("latin-1"))
    with pytest.raises(ValueError, match=rf"expected a table in UTF-8 in .*{name}, got .*; save it as CSV"):
        open_dataset(mura_root, check=False)


def _contradictions(root: Path) -> list[str]:
    with pytest.raises(ValueError, match=r"^expected "):
        open_dataset(root)
    return list(open_dataset(root, check=False).contradictions)


def test_a_study_with_two_labels_in_the_csv_is_named(mura_root: Path) -> None:
    file = mura_root / "train_labeled_studies.csv"
    first = file.read_text().splitlines()[0]
    file.write_text(f"{first[:-1]}{1 - int(first[-1])}\n" + file.read_text())
    (found,) = _contradictions(mura_root)
    study = first.removeprefix("MURA-v1.1/").rpartition("/")[0]
    assert found.startswith(f"expected a label 0 or 1 for {study} in {file}, got '0' and '1'; restore")


def test_an_image_listed_twice_is_named_and_counted_once(mura_root: Path) -> None:
    file = mura_root / "train_image_paths.csv"
    expected = _index(open_dataset(mura_root))
    first = file.read_text().splitlines()[0]
    file.write_text(file.read_text() + f"{first}\n")
    (found,) = _contradictions(mura_root)
    assert f"got {first.removeprefix('MURA-v1.1/')} in 2 lines" in found
    assert _index(open_dataset(mura_root, check=False)) == expected


@pytest.mark.parametrize("csvs", [True, False])
def test_a_study_that_is_positive_and_negative_is_named(tmp_path: Path, csvs: bool) -> None:
    root = write_mura(tmp_path, csvs=csvs)
    folder = next(root.glob("valid/*/*/study1_negative"))
    other = folder.with_name("study1_positive")
    other.mkdir()
    (other / "image1.png").write_bytes(b"another image")
    if csvs:
        for name, line in (("image_paths", "/image1.png"), ("labeled_studies", "/,1")):
            with (root / f"valid_{name}.csv").open("a") as file:
                file.write(f"{other.relative_to(root)}{line}\n")
    (found,) = open_dataset(root).remarks  # no contradiction: they may be two studies
    assert sorted(str(one.relative_to(root)) for one in (folder, other)) == sorted(
        found.partition(" have one number")[0].split(" and ")
    )


def test_folders_without_images_are_named(tmp_path: Path) -> None:
    root = write_mura(tmp_path, csvs=False)
    expected = _index(open_dataset(root))
    patient = next(root.glob("train/*/*"))
    for name in ("study8_positive", "study1_hidden/.cache", ".trash"):
        (patient / name).mkdir(parents=True)
    study = next(patient.glob("study?_*tive/image1.png")).parent
    (study / "image5.png").mkdir()
    wanted = {patient / "study8_positive", patient / "study1_hidden", study / "image5.png"}
    named = {sentence.partition(" in ")[2].partition(",")[0] for sentence in _contradictions(root)}
    assert named == {str(folder) for folder in wanted}
    assert _index(open_dataset(root, check=False)) == expected


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mura(tmp_path, csvs=False)
    closed = next(root.glob("train/*/*/study1_*"))
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path == str(closed):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (found,) = _contradictions(root)
    assert found == f"expected a folder that can be read, got Permission denied for {closed}"


def test_all_that_is_out_of_layout_is_named(mura_root: Path) -> None:
    file = mura_root / "train_image_paths.csv"
    strange = ["train/XR_WRIST/image1.png", "train/XR_WRIST/p/study1_both/image1.png"]
    file.write_text(file.read_text() + "\n".join([*strange, "no path at all"]) + "\n")
    outside, *misplaced = _contradictions(mura_root)
    assert "got 'no path at all'" in outside
    for path, sentence in zip(strange, misplaced, strict=True):
        assert f"got {path!r}; restore MURA's layout" in sentence


def test_labels_are_compared_where_the_csv_of_images_is_missing(mura_root: Path) -> None:
    expected = open_dataset(mura_root)
    (mura_root / "train_image_paths.csv").unlink()
    dataset = open_dataset(mura_root)
    assert _index(dataset) == _index(expected)
    (remark,) = dataset.remarks
    assert remark.startswith("train_image_paths.csv is missing: the images of train/ were found by walking")
    file = mura_root / "train_labeled_studies.csv"
    first, second, *others = file.read_text().splitlines()
    strange = "MURA-v1.1/train/XR_HAND/patient09999/study1_positive/,1"
    file.write_text("\n".join([f"{first[:-1]}{1 - int(first[-1])}", strange, *others]) + "\n")
    ids = [line.removeprefix("MURA-v1.1/").rpartition("/")[0] for line in (first, second, strange)]
    words = [
        f"agree, but {ids[0]} is labelled",
        f"expected a label for {ids[1]} in {file}, got none",
        f"got none for {ids[2]}; restore its folder",
    ]
    found = _contradictions(mura_root)
    assert len(found) == 3
    assert all(any(sentence in one for one in found) for sentence in words)


def test_images_are_compared_where_the_csv_of_labels_is_missing(mura_root: Path) -> None:
    expected = open_dataset(mura_root)
    (mura_root / "valid_labeled_studies.csv").unlink()
    dataset = open_dataset(mura_root)
    assert _index(dataset) == _index(expected)
    (remark,) = dataset.remarks
    assert remark.startswith(
        "valid_labeled_studies.csv is missing: the labels of valid/ are those of its folders"
    )
    file = mura_root / "valid_image_paths.csv"
    images = [line.removeprefix("MURA-v1.1/") for line in file.read_text().splitlines()]
    unnamed, lost = [path for path in images if path.endswith("image2.png")][:2]  # their studies keep a view
    (mura_root / lost).unlink()
    kept = [path for path in images if path != unnamed]
    file.write_text("\n".join([*kept, kept[0], "no path at all"]) + "\n")
    words = [
        f"got {kept[0]} in 2 lines",
        "got 'no path at all'",
        f"expected every image of valid/ in {file}, got no line for {unnamed}; restore",
        f"expected every image of {file} below {mura_root}, got none of that name for {lost}; restore",
    ]
    found = _contradictions(mura_root)
    assert len(found) == len(words)
    assert all(any(sentence in one for one in found) for sentence in words)


def test_a_path_that_no_file_system_takes_is_named(mura_root: Path) -> None:
    expected = _index(open_dataset(mura_root))
    for name, rest in (("image_paths", ""), ("labeled_studies", ",1")):
        with (mura_root / f"train_{name}.csv").open("a") as file:
            file.write(f"MURA-v1.1/train/XR_HAND/patient\0/study1_positive/{rest}\n")
    assert all(r"patient\x00/" in sentence for sentence in _contradictions(mura_root))
    assert _index(open_dataset(mura_root, check=False)) == expected


def test_csvs_with_windows_paths_and_semicolons_give_the_same_index(mura_root: Path) -> None:
    expected = open_dataset(mura_root)
    for file in mura_root.glob("*.csv"):
        file.write_text("path;label\n" + file.read_text().replace("/", "\\").replace(",", ";"))
    dataset = open_dataset(mura_root)
    assert _index(dataset) == _index(expected)
    assert dataset.contradictions == ()
    with pytest.raises(
        ValueError, match="expected 'abnormal' as the positive one of 'normal' and 'abnormal'"
    ):
        open_dataset(mura_root, positive="normal")
