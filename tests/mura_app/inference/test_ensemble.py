import csv
import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from base_models.datasets import open_dataset
from mura_app import Ensemble
from mura_app.inference.heat_maps import ENSEMBLE
from mura_app.main import run_command
from mura_app.prediction import PREDICTION
from mura_env import Predictions
from tests.base_models.imaging.dicoms import write_dicom


@pytest.fixture(scope="module")
def studies(tree):
    return open_dataset(tree).of_split("test")


@pytest.fixture(scope="module")
def study(studies):
    return max(studies, key=lambda each: len(each.image_paths))


def softmax(logits):
    shifted = np.exp(logits.astype(np.float64))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def test_test_studies_get_the_numbers_of_the_runs_own_table(run, ensemble, studies):
    table = Predictions.load(run / "predictions" / "test.npz")
    images = Predictions.load(run / "predictions" / "test-images.npz")
    of_view = dict(zip(images.study_ids.tolist(), softmax(images.logits), strict=True))
    weights = ensemble.agent.weights(table).astype(np.float64)
    found = list(ensemble.predict_studies(studies))
    assert [each.study_id for each in found] == table.study_ids.tolist()
    for row, each in enumerate(found):
        members = softmax(table.logits[row])
        np.testing.assert_allclose([m.probabilities for m in each.members], members, atol=1e-4)
        np.testing.assert_allclose([m.weight for m in each.members], weights[row], atol=1e-6)
        np.testing.assert_allclose(each.probabilities, weights[row] @ members, atol=1e-4)
        np.testing.assert_allclose(each.uniform_probabilities, members.mean(axis=0), atol=1e-4)
        for number, view in enumerate(each.views, start=1):
            expected = weights[row] @ of_view[f"{each.study_id}#{number}"]
            np.testing.assert_allclose(view.probabilities, expected, atol=1e-4)
        threshold = json.loads((run / "benchmark.json").read_text())["agents"]["static_per_body_part"][
            "threshold"
        ]
        assert (each.threshold, each.positive_class) == (threshold["mean"], "abnormal")
        is_positive = each.probabilities[1] >= threshold["mean"]
        assert each.predicted_class == ("abnormal" if is_positive else "normal")


def test_paths_arrays_pillow_images_bytes_and_dicom_are_the_same_study(ensemble, study, tmp_path):
    paths = list(study.image_paths)
    expected = ensemble.predict(paths, study.body_part).probabilities
    for sources in (
        [str(path) for path in paths],
        [np.asarray(Image.open(path).convert("L")) for path in paths],
        [np.asarray(Image.open(path).convert("RGB")) for path in paths],
        [np.asarray(Image.open(path).convert("L")) / np.float32(255) for path in paths],
        [Image.open(path) for path in paths],
        [path.read_bytes() for path in paths],
    ):
        np.testing.assert_allclose(
            ensemble.predict(sources, study.body_part).probabilities, expected, atol=1e-6
        )
    alone = ensemble.predict(paths[0], study.body_part)
    pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")
    file = write_dicom(tmp_path / "a.dcm", np.asarray(Image.open(paths[0]).convert("L")))
    for source in (file, file.read_bytes(), pydicom.dcmread(file)):
        found = ensemble.predict(source, study.body_part).probabilities
        np.testing.assert_allclose(found, alone.probabilities, atol=1e-6)
    assert (alone.n_views, len(alone.views)) == (1, 1)


def test_without_a_body_part_the_weights_are_averaged_and_it_is_said(ensemble, study):
    found = ensemble.predict(list(study.image_paths))
    assert found.body_part is None
    assert "averaged over all" in found.remarks[0]
    parts = [ensemble.predict(list(study.image_paths), part) for part in ensemble.body_part_names]
    weights = np.mean([[member.weight for member in each.members] for each in parts], axis=0)
    np.testing.assert_allclose([member.weight for member in found.members], weights, atol=1e-6)


@pytest.mark.parametrize(
    ("source", "part", "message"),
    [
        (np.zeros((8, 8), np.uint8), "FOOT", r"XR_ELBOW.*got 'FOOT'"),
        (np.zeros(8, np.uint8), None, "expected an array of shape"),
        (3, None, "expected a path, bytes, an array"),
        ([], None, "expected at least one radiograph"),
        ("nowhere.png", None, "nowhere.png"),
        (b"no image", None, "view 1"),
    ],
)
def test_what_is_no_study_is_refused(ensemble, source, part, message):
    with pytest.raises(ValueError, match=message):
        ensemble.predict(source, part)


def test_heat_maps_are_the_members_and_their_weighted_sum(ensemble, study):
    found = ensemble.predict(list(study.image_paths), study.body_part, heat_maps=True)
    kinds = [(each.name, each.kind) for each in found.heat_maps if each.view == 0]
    names = [member.name for member in found.members]
    assert kinds == [
        (names[0], "activation"),
        (names[0], "attention"),
        (names[1], "activation"),
        (ENSEMBLE, "sum"),
    ]
    maps = [each for each in found.heat_maps if each.view == 1 and each.kind != "attention"]
    expected = sum(m.weight * each.square for m, each in zip(found.members, maps, strict=False))
    np.testing.assert_allclose(maps[-1].square, expected, atol=1e-4)
    document = PREDICTION.dump_python(found, mode="json")
    assert "heat_maps" not in document
    assert PREDICTION.validate_python(document).probabilities == found.probabilities


def test_a_run_of_tables_weights_tables(tables, tmp_path, capsys):
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(tmp_path / f"{name}.npz")
    files = ["--train", str(tmp_path / "train.npz"), "--test", str(tmp_path / "test.npz")]
    options = ["--agents", "static_per_body_part", "--agent-seeds", "1", "--jobs", "1"]
    assert run_command(["benchmark", *files, "--out", str(tmp_path / "run"), *options]) == 0
    ensemble = Ensemble.load(tmp_path / "run", "static_per_body_part")
    expected = ensemble.agent.predict_proba(tables[1])
    unlabelled = Predictions.from_arrays(
        tables[1].logits,
        None,
        tables[1].body_parts,
        study_ids=tables[1].study_ids,
        model_names=tables[1].model_names,
        body_part_names=tables[1].body_part_names,
    )
    unlabelled.to_csv(tmp_path / "new.csv")
    capsys.readouterr()
    arguments = ["predict", "--run", str(tmp_path / "run"), "--agent", "static_per_body_part"]
    assert run_command([*arguments, "--predictions", str(tmp_path / "new.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    found = [float(row["probability_abnormal"]) for row in rows]
    np.testing.assert_allclose(found, expected[:, 1], atol=1e-6)
    with pytest.raises(ValueError, match="reads no radiographs"):
        ensemble.predict(np.zeros((8, 8), np.uint8))


def test_many_studies_go_on_past_a_bad_one_and_an_interrupted_file_is_gone_on_with(
    run, ensemble, studies, tmp_path, capsys
):
    rows = ["path,study_id,body_part"]
    for number, study in enumerate(studies[:5]):
        for view, path in enumerate(study.image_paths):
            shutil.copy(path, tmp_path / f"{number}-{view}.png")
            rows.append(f"{number}-{view}.png,s{number},{study.body_part if number else 'FOOT'}")
    (tmp_path / "1-0.png").write_bytes(b"damaged")
    (tmp_path / "studies.csv").write_text("\n".join(rows) + "\n")
    arguments = ["predict", "--run", str(run), "--agent", "static_per_body_part", "--data", str(tmp_path)]
    for form in ("csv", "jsonl"):
        out = tmp_path / f"out.{form}"
        assert run_command([*arguments, "--out", str(out)]) == 0
        assert "5 studies predicted, 2 of them failed" in capsys.readouterr().err
        whole = out.read_text()
        out.rename(tmp_path / f"out.{form}.part")
        (tmp_path / f"out.{form}.part").write_text(whole[: len(whole) - 9])  # half of the last line
        assert run_command([*arguments, "--out", str(out)]) == 2
        assert "add --resume to go on" in capsys.readouterr().err
        assert run_command([*arguments, "--out", str(out), "--resume"]) == 0
        assert "1 studies predicted" in capsys.readouterr().err
        assert out.read_text() == whole
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert ["error" in each for each in found] == [True, True, False, False, False]
    expected = [each.probabilities for each in ensemble.predict_studies(studies[2:5])]
    np.testing.assert_allclose([each["probabilities"] for each in found[2:]], expected, atol=1e-6)


def test_one_study_on_the_command_line(run, ensemble, study, tmp_path, capsys):
    images = [str(path) for path in study.image_paths]
    arguments = ["predict", "--run", str(run), "--agent", "static_per_body_part", *images]
    arguments += ["--body-part", study.body_part]
    assert run_command([*arguments, "--json", "--overlay", str(tmp_path / "o.png")]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    expected = ensemble.predict(list(study.image_paths), study.body_part).probabilities
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-6)
    assert "have their hottest point in one (chance" in captured.err
    with Image.open(tmp_path / "o-1.png") as page:
        assert page.mode == "RGB"
    assert run_command(arguments) == 0
    text = capsys.readouterr().out
    assert "probability of abnormal: " in text
    assert "not for diagnosis" in text


def test_a_dicom_study_is_answered_in_dicom(run, ensemble, tmp_path, capsys):
    highdicom = pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
    pixels = np.random.default_rng(0).integers(0, 4096, (60, 50), dtype=np.uint16)
    file = write_dicom(tmp_path / "a.dcm", pixels, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    arguments = ["predict", "--run", str(run), "--agent", "static_per_body_part", str(file)]
    out = tmp_path / "answer"
    assert run_command([*arguments, "--dicom", str(out)]) == 0
    assert sorted(each.name for each in out.iterdir()) == ["heat-map-1.dcm", "report.dcm"]
    (group,) = highdicom.sr.srread(out / "report.dcm").content.get_image_measurement_groups()
    (measurement,) = group.get_measurements()
    assert measurement.value == pytest.approx(ensemble.predict(file).probabilities[1], abs=1e-6)
    assert run_command([*arguments, "--dicom", str(out)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_a_plain_folder_of_images_needs_no_table(run, ensemble, study, tmp_path, capsys):
    (tmp_path / "several").mkdir()
    for number, path in enumerate(study.image_paths):
        shutil.copy(path, tmp_path / "several" / f"{number}.png")
    shutil.copy(study.image_paths[0], tmp_path / "alone.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    arguments = ["predict", "--run", str(run), "--agent", "static_per_body_part", "--data", str(tmp_path)]
    assert run_command([*arguments, "--body-part", study.body_part, "--json"]) == 0
    captured = capsys.readouterr()
    assert "3 studies predicted, 1 of them failed" in captured.err
    rows = {row["study_id"]: row for row in map(json.loads, captured.out.splitlines())}
    assert list(rows) == ["alone.png", "bad.png", "several"]
    for name, images in (("alone.png", [study.image_paths[0]]), ("several", list(study.image_paths))):
        expected = ensemble.predict(images, study.body_part)
        np.testing.assert_allclose(rows[name]["probabilities"], expected.probabilities, atol=1e-6)
        assert rows[name]["body_part"] == study.body_part


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "none of them"),
        (["--predictions", "x.csv", "--body-part", "y"], "--body-part beside the images of one study"),
        (["a.png", "--data", "x"], "images and data"),
        (["--data", "x", "--overlay", "o.png"], "--overlay beside the images of one study"),
        (["--data", "x", "--out", "o.txt"], "FILE.csv or FILE.jsonl"),
        (["--data", "x", "--resume"], "--resume beside --out"),
        (["a.png", "--overlay", "o.jpg"], "FILE.png"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, message, capsys):
    assert run_command(["predict", "--run", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err
