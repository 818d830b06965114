import json

import pytest

from agents.benchmark import run_benchmark
from base_models.synthetic import synthesize
from mura_app.artifacts import dataset_of_run, read_training, write_pages
from mura_app.console import show_odd_files
from mura_app.run_directory import RunDirectory


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    synthesize(folder / "tree", n_patients=20, seed=0)
    return folder / "tree"


@pytest.fixture(scope="module")
def document(tables):
    return run_benchmark(*tables, agents=["best_single"], seeds=[0], n_jobs=1, n_resamples=100)


def claimed(path, settings):
    run = RunDirectory(path)
    run.claim(settings)
    return run


def test_the_data_set_of_a_run_is_found_where_it_still_is(tree, tmp_path):
    dataset = dataset_of_run(claimed(tmp_path / "a", {"data": str(tree), "seed": 0}))
    assert dataset is not None
    assert dataset.name == "MURA"
    moved = claimed(tmp_path / "b", {"data": str(tree / "gone"), "seed": 0})
    assert dataset_of_run(moved) is None
    of_tables = claimed(tmp_path / "c", {"train": "a.npz", "test": "b.npz"})
    assert dataset_of_run(of_tables) is None


def test_report_and_card_are_written_with_the_radiographs_that_changed(tree, document, tmp_path):
    run = claimed(tmp_path / "run", {"data": str(tree), "seed": 0})
    dataset = dataset_of_run(run)
    changed = json.loads(json.dumps(document))
    studies = changed["behaviour"]["agents"]["best_single"]["changed_predictions"]["studies"]
    assert studies
    studies[0]["study_id"] = dataset.studies[0].study_id
    studies[0]["probability"] = 1.0  # the clearest change of all, so that the page shows it
    studies[0]["baseline_probability"] = 0.0
    write_pages(run, {**changed, "title": "Here"}, dataset)
    assert run.report_path.read_text(encoding="utf-8").count("data:image/jpeg") == 1
    assert run.model_card_path.read_text(encoding="utf-8").startswith("# Model card: Here\n")
    write_pages(run, changed)
    assert "data:image" not in run.report_path.read_text(encoding="utf-8")


def test_a_damaged_record_of_the_training_is_named(document, tmp_path):
    run = claimed(tmp_path / "run", {"seed": 0})
    run.training_path.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.json"):
        write_pages(run, document)


def test_an_edited_record_of_the_training_is_named(document, tmp_path):
    run = claimed(tmp_path / "run", {"seed": 0})
    run.training_path.write_text('{"dataset": {"name": 3}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.json without 'config'"):
        write_pages(run, document)


def test_odd_files_are_told_from_a_checked_record(tmp_path, capsys):
    run = claimed(tmp_path / "run", {"seed": 0})
    record = {
        "dataset": {"name": "MURA", "remarks": []},
        "counts": {},
        "config": {"members": [{"name": "a", "network": "b", "image_size": 8, "epochs": 1, "options": {}}]},
        "skipped_images": {"x.png": "damaged"},
    }
    run.training_path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=r"training\.json without 'folds' in config; run its command again"):
        read_training(run)
    record["config"]["folds"] = 2
    run.training_path.write_text(json.dumps(record), encoding="utf-8")
    show_odd_files(read_training(run), run)
    assert capsys.readouterr().err == f"left out 1 unreadable image(s); {run.training_path} names them\n"
    dataset = {"name": "MURA", "remarks": ["2 file(s) are not read."]}
    others = {"dataset": dataset, "skipped_images": {}, "misnamed_images": {"y.png": "its content is JPEG"}}
    others["unlisted_files"] = ["z.webp", "w.png"]
    others["shared_images"] = [["a.png", "b.png"], ["c.png", "d.png", "e.png"]]
    show_odd_files({**record, **others}, run)
    said = capsys.readouterr().err
    assert "1 image(s) with names that belie their content" in said
    assert said.endswith(f"2 file(s) that belong to no study were not read; {run.training_path} names them\n")
    assert "unreadable" not in said
    assert "2 image(s) stand in studies of several patients" in said
    studies = {"skipped_images": {"x.png": "damaged", "y.png": "empty"}, "skipped_studies": ["s1"]}
    show_odd_files({**record, **studies}, run)
    said = capsys.readouterr().err
    assert said.startswith("left out 2 unreadable image(s), and with them 1 whole study(ies); ")
