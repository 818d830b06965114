import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from base_models.audit import audit_dataset
from base_models.datasets import Dataset, open_dataset
from tests.base_models.trees import FRACATLAS_COLUMNS, fracatlas_row, picture, save_picture


@pytest.fixture(scope="module")
def real(real_fracatlas: Path) -> Dataset:
    return open_dataset(real_fracatlas)


def _rows(root: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((root / "dataset.csv").read_text().splitlines()))


def test_the_index_is_what_folders_and_csv_say(fracatlas_root: Path) -> None:
    dataset = open_dataset(fracatlas_root)
    assert (dataset.name, dataset.class_names) == ("FracAtlas", ("normal", "fractured"))
    assert dataset.body_part_names == ("hand", "leg")
    rows = {row["image_id"][:-4]: row for row in _rows(fracatlas_root)}
    assert [study.study_id for study in dataset.studies] == sorted(rows)
    for study in dataset.studies:
        row = rows[study.study_id]
        assert study.body_part == next(region for region in ("hand", "leg") if row[region] == "1")
        assert study.label == int(study.image_paths[0].parent.name == "Fractured") == int(row["fractured"])
        assert study.metadata == {name: float(row[name]) for name in ("frontal", "lateral", "oblique")}
        assert study.image_paths[0].is_file()
    assert [s.study_id for s in open_dataset(fracatlas_root.parent).studies] == sorted(rows)


def test_the_split_is_a_function_of_the_seed(fracatlas_root: Path) -> None:
    splits = [[study.split for study in open_dataset(fracatlas_root, seed).studies] for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_patients_are_neighbours_of_one_region_and_near_duplicates(tmp_path: Path) -> None:
    regions = {
        10: "hand",
        11: "hand",
        12: "leg",
        13: "hand+shoulder",
        20: "hip",
        21: "hip+leg",
        30: "leg",
        40: "hip",
    }
    images = {number: picture(number, shape=(96, 80)) for number in regions}
    images[40] = images[20].copy()  # the same image under two numbers
    images[40][:3, :3] += 5
    for number, pixels in images.items():
        label = number % 2
        save_picture(
            tmp_path / "images" / ("Non_fractured", "Fractured")[label] / f"IMG{number:07d}.jpg", pixels
        )
    rows = [fracatlas_row(number, region, number % 2) for number, region in regions.items()]
    (tmp_path / "dataset.csv").write_text("\n".join([FRACATLAS_COLUMNS, *rows]))
    from base_models.datasets import fracatlas

    studies = fracatlas.read(tmp_path).studies
    patient = {int(study.study_id[3:]): study.patient_id for study in studies}
    assert patient[10] == patient[11]
    assert patient[20] == patient[40]
    assert len(set(patient.values())) == len(regions) - 2
    parts = {int(study.study_id[3:]): study.body_part for study in studies}
    assert (parts[13], parts[21], parts[12]) == ("mixed", "mixed", "leg")


def test_the_folder_wins_over_the_csv_and_it_is_said(fracatlas_root: Path) -> None:
    file = fracatlas_root / "dataset.csv"
    file.write_text(file.read_text().replace(fracatlas_row(0, "hand", 1, 0), fracatlas_row(0, "hand", 0, 0)))
    dataset = open_dataset(fracatlas_root)
    assert dataset.studies[0].label == 1
    assert any("IMG0000000.jpg: the folder wins" in remark for remark in dataset.remarks)


def test_an_incomplete_copy_is_refused_and_described_whole(fracatlas_root: Path) -> None:
    expected = {study.study_id for study in open_dataset(fracatlas_root).studies}
    file, images = fracatlas_root / "dataset.csv", fracatlas_root / "images"
    pixels = (images / "Fractured" / "IMG0000000.jpg").read_bytes()
    for name in ("IMG0000000.jpg", "IMG0000006.jpg"):
        (images / "Fractured" / name).unlink()
    for name in ("Fractured/IMG9999999.jpg", "Non_fractured/Thumbs.db", "Fractured/IMG0000002.jpg"):
        (images / name).write_bytes(pixels)
    rows = file.read_text().replace(fracatlas_row(4, "hand", 0, 0), "IMG0000004.jpg,1,0")
    file.write_text(rows + fracatlas_row(8, "hand", 0) + "\n")
    with pytest.raises(ValueError, match=r"got 'nothing' as .* \(and 6 more; `mura check-data` lists all\)"):
        open_dataset(fracatlas_root)
    dataset = open_dataset(fracatlas_root, check=False)
    sentences = [
        "got 'nothing' as fractured of IMG0000004.jpg; restore the original file",
        f"expected each image once in {file}, got IMG0000008.jpg again",
        f"got {images}/Non_fractured/IMG0000002.jpg and {images}/Fractured/IMG0000002.jpg; remove one",
        f"expected IMG0000000.jpg of {file} below {images}, got no such file; complete the copy",
        f"expected IMG0000006.jpg of {file} below {images}, got no such file; complete the copy",
        f"expected a row for each file in {file}, got none for {images}/Fractured/IMG9999999.jpg",
        f"expected a row for each file in {file}, got none for {images}/Non_fractured/Thumbs.db",
    ]
    for words, sentence in zip(sentences, dataset.contradictions, strict=True):
        assert words in sentence
    left_out = {f"IMG000000{digit}" for digit in (0, 2, 4, 6)}
    assert {study.study_id for study in dataset.studies} == expected - left_out


def test_a_copy_without_any_image_is_described(fracatlas_root: Path) -> None:
    for path in fracatlas_root.glob("images/*/*.jpg"):
        path.unlink()
    document = audit_dataset(open_dataset(fracatlas_root, check=False))
    assert document["counts"]["studies"] == 0
    assert sum("got no such file" in sentence for sentence in document["problems"]["contradictions"]) == 24
    assert not document["ok"]
    json.dumps(document, allow_nan=False)


def test_a_table_in_another_encoding_is_named(fracatlas_root: Path) -> None:
    (fracatlas_root / "dataset.csv").write_bytes("image_id,d\u00e9but\n".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"expected a table in UTF-8 in .*dataset\.csv, got .*; save it as CSV"
    ):
        open_dataset(fracatlas_root, check=False)


def test_wrong_columns_and_values_are_named(fracatlas_root: Path) -> None:
    file = fracatlas_root / "dataset.csv"
    text = file.read_text()
    file.write_text(text.replace("shoulder", "arm"))
    with pytest.raises(ValueError, match="got none named shoulder; restore"):
        open_dataset(fracatlas_root)
    file.write_text(text.replace(fracatlas_row(0, "hand", 1, 0), fracatlas_row(0, "hand", 7, 0)))
    with pytest.raises(ValueError, match=r"expected 0 or 1 .*, got '7' as fractured of IMG0000000.jpg"):
        open_dataset(fracatlas_root)


def test_a_row_without_an_image_is_a_fault_of_its_line(fracatlas_root: Path) -> None:
    file = fracatlas_root / "dataset.csv"
    expected = open_dataset(fracatlas_root).studies
    cells = [line.split(",") for line in file.read_text().splitlines()]
    rows = [",".join(row[1:] + row[:1]) for row in cells]  # the image's name comes last
    file.write_text("\n".join([*rows[:3], "1,0", *rows[3:], rows[1].rpartition(",")[0] + ","]) + "\n")
    dataset = open_dataset(fracatlas_root, check=False)
    assert dataset.contradictions == tuple(
        f"expected an image_id in line {line} of {file}, got none; restore the original file"
        for line in (4, len(rows) + 2)
    )
    assert dataset.studies == expected
    with pytest.raises(ValueError, match="expected an image_id in line 4 of"):
        open_dataset(fracatlas_root)


def test_a_table_that_ends_after_its_columns_says_so(fracatlas_root: Path) -> None:
    (fracatlas_root / "dataset.csv").write_text(FRACATLAS_COLUMNS + "\n")
    with pytest.raises(
        ValueError, match=r"expected a row for each image in .*dataset\.csv, got none; restore"
    ):
        open_dataset(fracatlas_root, check=False)


def test_digits_that_count_nothing_are_no_part_of_a_number(fracatlas_root: Path) -> None:
    file = fracatlas_root / "dataset.csv"
    file.write_text(file.read_text().replace("IMG0000000.jpg", "IMG0000000\u00b2.jpg"))
    image = fracatlas_root / "images" / "Fractured" / "IMG0000000.jpg"
    image.rename(image.with_stem("IMG0000000\u00b2"))
    patients = {study.study_id: study.patient_id for study in open_dataset(fracatlas_root).studies}
    assert len(set(patients.values())) == len(patients) == 24


def test_unreadable_images_stay_in_the_index(fracatlas_root: Path) -> None:
    (fracatlas_root / "images" / "Fractured" / "IMG0000000.jpg").write_bytes(b"no image")
    assert len(open_dataset(fracatlas_root).studies) == 24


def test_too_few_patients_leave_an_empty_split(tmp_path: Path) -> None:
    for number in (1, 2):
        save_picture(tmp_path / "images" / "Fractured" / f"IMG{number:07d}.jpg", picture(number))
    rows = [fracatlas_row(number, "hand", 1) for number in (1, 2)]
    (tmp_path / "dataset.csv").write_text("\n".join([FRACATLAS_COLUMNS, *rows]))
    with pytest.raises(ValueError, match="got an empty test split"):
        open_dataset(tmp_path)


def test_the_real_counts(real: Dataset) -> None:
    assert Counter(study.label for study in real.studies) == {0: 2525, 1: 526}
    sizes = Counter(study.patient_id for study in real.studies)
    assert len(sizes) == 1065  # of 3,051 images; the original release's 4,083 have 1,440 groups
    assert max(sizes.values()) == 41
    assert any("IMG0003298.jpg: the folder wins" in remark for remark in real.remarks)


def test_real_neighbours_of_one_region_are_one_patient(real: Dataset, real_fracatlas: Path) -> None:
    flags = {
        row["image_id"][:-4]: tuple(row[name] for name in ("hand", "leg", "hip", "shoulder"))
        for row in _rows(real_fracatlas)
    }
    patient = {study.study_id: study.patient_id for study in real.studies}
    for study_id, expected in patient.items():
        following = f"IMG{int(study_id[3:]) + 1:07d}"
        if following in patient and flags[following] == flags[study_id]:
            assert patient[following] == expected


def test_the_real_split_keeps_patients_and_strata(real: Dataset) -> None:
    train, test = real.of_split("train"), real.of_split("test")
    assert not {s.patient_id for s in train} & {s.patient_id for s in test}
    assert 0.24 < len(test) / len(real.studies) < 0.31
    everything = Counter((s.body_part, s.label) for s in real.studies)
    in_test = Counter((s.body_part, s.label) for s in test)
    shares = np.array([in_test[stratum] / n for stratum, n in everything.items() if n >= 50])
    np.testing.assert_allclose(shares, 0.25, atol=0.03)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_that_a_spreadsheet_saved_again_is_read(fracatlas_root: Path, separator: str) -> None:
    expected = open_dataset(fracatlas_root)
    table = fracatlas_root / "dataset.csv"
    table.write_text(table.read_text().replace(",", separator))
    assert open_dataset(fracatlas_root) == expected
