from pathlib import Path

import pytest

from base_models.datasets import list_datasets, open_dataset
from tests.base_models.trees import write_fracatlas, write_mura


def test_the_kinds_are_listed() -> None:
    assert list_datasets() == ["FracAtlas", "MURA", "studies.csv"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist"):
        open_dataset(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"file is not a folder"):
        open_dataset(tmp_path / "file")


def test_a_folder_of_no_known_kind_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"FracAtlas: dataset\.csv.*MURA: train/"):
        open_dataset(tmp_path)


def _write_table(folder: Path, images: Path) -> None:
    """Write a table of somebody's own over images that lie below its folder."""
    rows = [
        f"{path.relative_to(folder)},s{number},p{number},KNEE,{number % 2}"
        for number, path in enumerate(sorted(images.rglob("*.[pj][np]g")))
    ]
    (folder / "studies.csv").write_text("\n".join(["path,study_id,patient_id,body_part,label", *rows]))


def test_two_data_sets_below_a_folder_are_both_named(tmp_path: Path) -> None:
    mura, fracatlas = write_mura(tmp_path / "MURA-v1.1"), write_fracatlas(tmp_path / "FracAtlas")
    with pytest.raises(ValueError, match=r"^expected one data set in .*; name the folder of one$") as refusal:
        open_dataset(tmp_path, check=False)
    assert f"got FracAtlas in {fracatlas} and MURA in {mura};" in str(refusal.value)
    for root, name in ((mura, "MURA"), (fracatlas, "FracAtlas")):
        dataset = open_dataset(root)
        assert (dataset.name, dataset.root) == (name, root)
        assert not any("has to be named" in remark for remark in dataset.remarks)


@pytest.mark.parametrize("write", [write_mura, write_fracatlas])
def test_a_table_in_the_folder_of_another_kind_is_refused_and_may_lie_above(tmp_path: Path, write) -> None:
    name = {write_mura: "MURA", write_fracatlas: "FracAtlas"}[write]
    root = write(tmp_path / {"MURA": "MURA-v1.1"}.get(name, name))
    _write_table(root, root)
    with pytest.raises(
        ValueError, match=rf"got {name} in {root} and studies\.csv in {root}; give each"
    ) as why:
        open_dataset(root, check=False)
    assert str(why.value).endswith(f"one folder up, its paths beginning with '{root.name}/'")
    (root / "studies.csv").unlink()
    expected = open_dataset(root)

    _write_table(tmp_path, root)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, dataset.root) == ("studies.csv", tmp_path)
    assert len(dataset.studies) == sum(len(study.image_paths) for study in expected.studies)
    assert dataset.remarks[-1] == (
        f"The folder was read as studies.csv; it also holds {name} in {root.name}, which has to be named to "
        "be read."
    )
    assert open_dataset(root) == expected


def test_the_folder_that_was_named_decides_before_those_below(tmp_path: Path) -> None:
    root = write_mura(tmp_path)
    expected = open_dataset(root)
    write_fracatlas(root / "FracAtlas")
    dataset = open_dataset(root)
    assert (dataset.name, dataset.studies) == ("MURA", expected.studies)
    assert "it also holds FracAtlas in FracAtlas, which" in dataset.remarks[-1]


def test_two_kinds_in_one_folder_are_both_named(tmp_path: Path) -> None:
    write_fracatlas(write_mura(tmp_path))
    with pytest.raises(ValueError, match=rf"got FracAtlas in {tmp_path} and MURA in {tmp_path}; give each"):
        open_dataset(tmp_path)
