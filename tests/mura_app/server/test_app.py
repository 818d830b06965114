"""The routes: every way to ask gives the numbers of `Ensemble.predict`; what is wrong gets a sentence."""

import base64
import io
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from mura_app.main import run_command
from mura_app.prediction import PREDICTION
from tests.base_models.imaging.dicoms import write_dicom


def form(files):
    return [("files", (file.name, file.read_bytes())) for file in files]


def encoded(files):
    return [base64.b64encode(file.read_bytes()).decode() for file in files]


def test_every_way_to_ask_gives_the_probabilities_of_python(client, ensemble, files, tmp_path):
    rng = np.random.default_rng(1)
    dicom = write_dicom(tmp_path / "a.dcm", rng.integers(0, 4096, (60, 50), dtype=np.uint16))
    studies = [(files, "PART1"), (files[:1], ""), (files[1:], "PART2"), ([dicom, files[0]], "PART0")]
    sent = [
        {"images": encoded(views), "body_part": part, "study_id": f"s{number}"}
        for number, (views, part) in enumerate(studies)
    ]
    lines = "\n".join(map(json.dumps, [*sent, {"images": ["AAAA"], "study_id": "bad"}]))
    rows = [json.loads(row) for row in client.post("/predict/batch", content=lines).text.splitlines()]
    assert [row["study_id"] for row in rows] == ["s0", "s1", "s2", "s3", "bad"]
    assert rows[4]["error"].startswith("view 1: ")
    for (views, part), row in zip(studies, rows, strict=False):
        expected = ensemble.predict(views, part or None)
        answer = client.post("/predict", files=form(views), data={"body_part": part}).json()
        inputs = [
            {"name": "images", "datatype": "BYTES", "shape": [1, len(views)], "data": encoded(views)},
            *([{"name": "body_part", "datatype": "BYTES", "shape": [1], "data": [part]}] if part else []),
        ]
        inferred = client.post("/v2/models/tiny/infer", json={"id": "7", "inputs": inputs}).json()
        outputs = {out["name"]: np.reshape(out["data"], out["shape"])[0] for out in inferred["outputs"]}
        for found in (answer["prediction"]["probabilities"], row["probabilities"], outputs["probabilities"]):
            np.testing.assert_allclose(found, expected.probabilities, atol=1e-4)
        np.testing.assert_allclose(outputs["weights"], [each.weight for each in expected.members], atol=1e-6)
        own = [each.probabilities for each in expected.members]
        np.testing.assert_allclose(outputs["member_probabilities"], own, atol=1e-4)
        np.testing.assert_allclose(outputs["uniform_probabilities"], np.mean(own, axis=0), atol=1e-4)
        assert (inferred["id"], inferred["model_name"]) == ("7", "tiny")
        assert PREDICTION.validate_python(answer["prediction"]).predicted_class == expected.predicted_class
        assert [view["name"] for view in answer["prediction"]["views"]] == [
            f"view {number}" for number in range(1, len(views) + 1)
        ]
        assert "not for diagnosis" in answer["notice"]


def test_an_inference_request_holds_several_studies_and_chooses_outputs(client, ensemble, files):
    images = {"name": "images", "datatype": "BYTES", "shape": [2, 1]}
    images["data"] = [[text] for text in encoded(files[:2])]
    parts = {"name": "body_part", "datatype": "BYTES", "shape": [2], "data": ["PART0", "PART1"]}
    asked = {"inputs": [images, parts], "outputs": [{"name": "probabilities"}]}
    (out,) = client.post("/v2/models/tiny/infer", json=asked).json()["outputs"]
    expected = [
        ensemble.predict(file, part).probabilities
        for file, part in zip(files, ("PART0", "PART1"), strict=False)
    ]
    np.testing.assert_allclose(np.reshape(out["data"], out["shape"]), expected, atol=1e-4)


def test_heat_maps_lie_over_their_radiographs(client, ensemble, files):
    answer = client.post("/predict", files=form(files[:2]), data={"explain": "true"}).json()
    explanation = answer["explanation"]
    maps = ensemble.predict(files[:2], heat_maps=True).heat_maps
    assert [(each["name"], each["kind"], each["view"]) for each in explanation["heat_maps"]] == [
        (each.name, each.kind, each.view) for each in maps
    ]
    for picture, heat in zip(explanation["heat_maps"], maps, strict=True):
        with Image.open(files[heat.view]) as image:
            width, height = image.size
        with Image.open(io.BytesIO(base64.b64decode(picture["png"]))) as drawn:
            assert (drawn.mode, drawn.size) == ("RGBA", (width, height))
            strength = np.asarray(drawn)[..., 3]
        values = heat.on_radiograph(width, height)
        brightest = np.unravel_index(np.nanargmax(values), values.shape)
        assert strength[brightest] == strength.max() == 153  # 60 %
        assert picture["high"] == pytest.approx(float(np.nanmax(values)))
        x, y = heat.hottest
        np.testing.assert_allclose(picture["hottest"], (x / width, y / height))
        np.testing.assert_allclose(picture["shown"], (0, 0, 1, 1), atol=1e-6)  # not cropped
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(explanation["radiographs"][0]), np.uint8), -1)
    np.testing.assert_array_equal(shown, np.asarray(Image.open(files[0])))
    assert "has not been measured" in explanation["hit_rate"]


def test_the_answer_comes_as_dicom_where_dicom_came_in(client, files, tmp_path):
    highdicom = pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
    pixels = np.random.default_rng(1).integers(0, 4096, (60, 50), dtype=np.uint16)
    file = write_dicom(tmp_path / "a.dcm", pixels, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    answer = client.post("/predict", files=form([file]), data={"dicom": "true"}).json()
    assert [each["name"] for each in answer["dicom"]] == ["report.dcm", "heat-map-1.dcm"]
    report = highdicom.sr.srread(io.BytesIO(base64.b64decode(answer["dicom"][0]["content"])))
    (group,) = report.content.get_image_measurement_groups()
    (measurement,) = group.get_measurements()
    assert measurement.value == pytest.approx(answer["prediction"]["probabilities"][1], abs=1e-4)
    refused = client.post("/predict", files=form(files[:1]), data={"dicom": "true"})
    assert refused.status_code == 422
    assert refused.json()["error"].startswith("expected DICOM radiographs to answer in DICOM, got view 1")


def test_it_says_what_it_is(client):
    assert client.get("/health").json() == {"status": "ok", "model": "tiny", "requests": 0}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/tiny/ready").json()["ready"]
    model = client.get("/v2/models/tiny").json()
    assert [out["shape"] for out in model["outputs"]] == [[-1, 2], [-1, 2], [-1, 2, 2], [-1, 2]]
    document = client.get("/openapi.json").json()
    assert {"/predict", "/predict/batch", "/v2/models/{model}/infer", "/health"} <= document["paths"].keys()
    references = set(re.findall(r'"#/([^"]+)"', json.dumps(document)))
    for reference in references:
        found = document
        for step in reference.split("/"):
            found = found[step]


def test_the_page_is_its_own_and_may_load_nothing_else(client):
    page = client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert re.findall(r'(?:src|href)="([^"]*)"', page.text) == ["/icon.svg", "/page.css", "/page.js"]
    for path in ("/icon.svg", "/page.css", "/page.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)


def test_metrics_count_routes_and_hold_nothing_else(client, files):
    client.post("/predict", files=form(files[:1]), data={"body_part": "FOOT"})
    client.get("/patients/jane-doe?name=jane")
    text = client.get("/metrics").text
    assert 'mura_requests_total{route="/predict",status="422"}' in text
    assert 'mura_requests_total{route="other",status="404"}' in text
    assert not re.search("jane|secret|FOOT", text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "70000"], "65535"),
        (["--host", "192.0.2.1"], "an address to listen at"),
        (["--host", ""], "(no host)"),
        (["--host", "ö" * 80], "no name of a host"),
    ],
)
def test_what_cannot_be_served_is_refused(tmp_path, capsys, options, message):
    assert run_command(["serve", "--run", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_without_its_libraries_it_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mura_app.commands.serve.find_spec", lambda name: None)
    assert run_command(["serve", "--run", str(tmp_path)]) == 2
    assert "pip install 'mura-rl-ensemble[serve]'" in capsys.readouterr().err
