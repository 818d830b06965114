import base64
import hashlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from base_models.datasets import open_dataset
from base_models.imaging.decoding import resize
from base_models.imaging.reader import read_grey
from base_models.prediction import VIEW_RULES
from mura_app import Ensemble
from mura_app.inference.export import OUTPUTS
from mura_app.inference.graph import AGGREGATIONS, resizing
from mura_app.main import run_command
from tests.base_models.imaging.dicoms import write_dicom


@pytest.mark.parametrize(("side", "size"), [(128, 48), (96, 32), (64, 32), (192, 160), (40, 64)])
def test_the_matrix_scales_as_opencv_does(side, size):
    image = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    image = cv2.GaussianBlur(image, (5, 5), 0)
    rows = resizing(side, size)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    difference = np.abs(rows @ image.astype(np.float32) @ rows.T - resize(image, size))
    assert difference.max() < 0.51 + (size > side)


@pytest.mark.parametrize("rule", VIEW_RULES)
def test_views_are_aggregated_as_in_numpy_and_filled_up_ones_ignored(rule):
    generator = np.random.default_rng(0)
    counts = np.array([1, 3, 2])
    probabilities = generator.dirichlet([1.0, 1.0, 1.0], (3, 3))
    mask = np.arange(3) < counts[:, None]
    expected = VIEW_RULES[rule](probabilities[mask], np.repeat(np.arange(3), counts), 3)
    found = AGGREGATIONS[rule](torch.from_numpy(probabilities), torch.from_numpy(mask))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_an_agent_that_no_graph_holds_is_refused(run, tables):
    from agents import make_agent
    from mura_app.inference.exported_policy import exported_policy

    with pytest.raises(ValueError, match="got 'stacking', which a graph cannot hold"):
        exported_policy(make_agent("stacking").fit(tables[0]))


@pytest.fixture(scope="module")
def packed(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "pack.zip"
    assert run_command(["pack", str(run), "--agent", "reinforce", "--out", str(out)]) == 0
    folder = out.with_suffix("")
    shutil.unpack_archive(out, folder)
    return folder


def test_the_graph_says_the_same_as_python(run, packed, capsys):
    from base_models.datasets.study import Study  # noqa: F401
    from mura_app.inference.export import check_export, graph_inputs

    ensemble = Ensemble.load(run, "reinforce")
    studies = open_dataset(json.loads((run / "config.json").read_text())["data"]).of_split("test")
    check = check_export(ensemble, packed / "model.onnx", studies)
    assert check.n_studies == len(studies)
    assert check.largest_difference < 1e-4
    import onnxruntime

    session = onnxruntime.InferenceSession(packed / "model.onnx", providers=["CPUExecutionProvider"])
    study = max(studies, key=lambda each: len(each.image_paths))
    feed = graph_inputs(ensemble, study)
    filled = {
        "images": np.pad(np.repeat(feed["images"], 2, axis=0), ((0, 0), (0, 3), (0, 0), (0, 0))),
        "n_views": np.repeat(feed["n_views"], 2),
        "body_part": np.array([feed["body_part"][0], len(ensemble.body_part_names)]),
    }
    outputs = dict(zip(OUTPUTS, session.run(None, filled), strict=True))
    for row, part in enumerate((study.body_part, None)):
        found = ensemble.predict(list(study.image_paths), part, heat_maps=True)
        np.testing.assert_allclose(outputs["probabilities"][row], found.probabilities, atol=1e-4)
        np.testing.assert_allclose(outputs["weights"][row], [m.weight for m in found.members], atol=1e-4)
        for each in found.heat_maps:
            if each.name == "ensemble":
                np.testing.assert_allclose(outputs["heat_map"][row, each.view, 0], each.square, atol=1e-2)


def test_the_file_says_what_it_is(packed):
    facts = {
        each.key: json.loads(each.value)
        for each in onnx.load(packed / "model.onnx").metadata_props
        if each.key in {"classes", "positive_class", "body_parts", "threshold", "notice", "preprocessing"}
    }
    assert facts["classes"] == ["normal", "abnormal"]
    assert facts["positive_class"] == "abnormal"
    assert facts["body_parts"][-1] == "(not given)"
    assert "not for diagnosis" in facts["notice"]


def test_a_packed_run_answers_as_the_run_does_and_holds_no_pickle(run, packed, tree):
    studies = open_dataset(tree).of_split("test")[:4]
    of_run = [each.probabilities for each in Ensemble.load(run, "reinforce").predict_studies(studies)]
    for place in (packed, packed.with_suffix(".zip")):
        found = list(Ensemble.load(place).predict_studies(studies))
        np.testing.assert_allclose([each.probabilities for each in found], of_run, atol=1e-6)
        assert found[0].unlike is not None
    document = json.loads((packed / "pack.json").read_text())
    files = {path.relative_to(packed).as_posix(): path for path in packed.rglob("*") if path.is_file()}
    assert set(document["sha256"]) == files.keys() - {"pack.json"}
    for name, path in files.items():
        assert path.suffix in {".safetensors", ".onnx", ".json", ".md"}
        if name != "pack.json":
            assert hashlib.sha256(path.read_bytes()).hexdigest() == document["sha256"][name]
    card = (packed / "MODEL_CARD.md").read_text()
    assert card.startswith("---\nlicense: other\n")
    assert "hottest point lies in an" in card


@pytest.fixture(params=[3, pytest.param(50, marks=pytest.mark.slow)])
def dicom_studies(request, tree, tmp_path):
    """Some studies as DICOM, and the folder with the table that `mura predict --data` reads."""
    studies, folder = open_dataset(tree).studies[: request.param], tmp_path
    assert len(studies) == request.param
    written, rows = [], ["path,study_id,body_part"]
    for number, study in enumerate(studies, start=1):
        paths = []
        for view, path in enumerate(study.image_paths, start=1):
            uids = {"StudyInstanceUID": f"1.2.{number}", "SeriesInstanceUID": f"1.2.{number}.1"}
            uids["SOPInstanceUID"] = f"1.2.{number}.1.{view}"
            name = f"{number}-{view}.dcm"
            paths.append(write_dicom(folder / name, read_grey(path), **uids))
            rows.append(f"{name},s{number},{study.body_part}")
        written.append(replace(study, study_id=f"s{number}", image_paths=tuple(paths)))
    (folder / "studies.csv").write_text("\n".join(rows) + "\n")
    return written, folder


def served_answers(ensemble, studies):
    """Ask the server's two routes of one study, the first for a DICOM report as well."""
    import highdicom

    from tests.mura_app.server.conftest import serving

    by_form, by_report, by_protocol = {}, {}, {}
    with serving(ensemble) as client:
        for study in studies:
            contents = [path.read_bytes() for path in study.image_paths]
            form = [("files", ("view", content)) for content in contents]
            asked = {"body_part": study.body_part, "dicom": "true"}
            answer = client.post("/predict", files=form, data=asked).json()
            by_form[study.study_id] = answer["prediction"]["probabilities"][1]
            report = highdicom.sr.srread(io.BytesIO(base64.b64decode(answer["dicom"][0]["content"])))
            (group,) = report.content.get_image_measurement_groups()
            by_report[study.study_id] = group.get_measurements()[0].value
            images = [base64.b64encode(content).decode() for content in contents]
            inputs = [
                {"name": "images", "datatype": "BYTES", "shape": [1, len(images)], "data": images},
                {"name": "body_part", "datatype": "BYTES", "shape": [1], "data": [study.body_part]},
            ]
            outputs = client.post("/v2/models/tiny/infer", json={"inputs": inputs}).json()["outputs"]
            (found,) = [each for each in outputs if each["name"] == "probabilities"]
            by_protocol[study.study_id] = found["data"][1]
    return {"/predict": by_form, "DICOM report": by_report, "/infer": by_protocol}


def test_every_way_to_ask_gives_the_same_probability(run, packed, dicom_studies, capsys):
    for library in ("highdicom", "fastapi", "onnxruntime"):
        pytest.importorskip(library, reason=f"{library} is not installed")
    import onnxruntime

    from mura_app.inference.export import graph_inputs

    studies, folder = dicom_studies
    ensemble = Ensemble.load(run, "reinforce")
    expected = {
        study.study_id: ensemble.predict(list(study.image_paths), study.body_part).probabilities[1]
        for study in studies
    }
    capsys.readouterr()
    command = ["predict", "--run", str(run), "--agent", "reinforce", "--data", str(folder), "--json"]
    assert run_command(command) == 0
    rows = map(json.loads, capsys.readouterr().out.splitlines())
    session = onnxruntime.InferenceSession(packed / "model.onnx", providers=["CPUExecutionProvider"])
    found = {
        "predict_studies": {s.study_id: s.probabilities[1] for s in ensemble.predict_studies(studies)},
        "mura predict": {row["study_id"]: row["probabilities"][1] for row in rows},
        "mura pack": {s.study_id: s.probabilities[1] for s in Ensemble.load(packed).predict_studies(studies)},
        "mura export": {
            study.study_id: session.run(["probabilities"], graph_inputs(ensemble, study))[0][0, 1]
            for study in studies
        },
        **served_answers(ensemble, studies),
    }
    for way, answers in found.items():
        assert list(answers) == list(expected), way
        np.testing.assert_allclose([*answers.values()], [*expected.values()], atol=1e-4, err_msg=way)


def test_a_changed_or_missing_file_of_a_packed_folder_is_refused(packed, tmp_path):
    broken = Path(shutil.copytree(packed, tmp_path / "broken"))
    card = broken / "MODEL_CARD.md"
    card.write_text(card.read_text() + "more")
    with pytest.raises(ValueError, match="as it was packed, got another content"):
        Ensemble.load(broken)
    card.unlink()
    with pytest.raises(FileNotFoundError, match="a file of a packed folder"):
        Ensemble.load(broken)
    with pytest.raises(ValueError, match="expected the agent that was packed"):
        Ensemble.load(packed, "uniform")
