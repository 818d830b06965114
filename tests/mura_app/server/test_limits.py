"""Whatever is sent, there is a sentence and no 500; nothing is written, and nothing of it is logged."""

import base64
import io
import json
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from mura_app.server.limits import Limits
from tests.mura_app.server.conftest import serving
from tests.mura_app.server.test_app import encoded, form

LIMITS = Limits(megabytes=3, radiographs=4, megapixels=2, queue=3, seconds=30)


@pytest.fixture(scope="module")
def strict(ensemble):
    with serving(ensemble, LIMITS) as running:
        yield running


@pytest.fixture(autouse=True)
def nowhere_to_write(monkeypatch):
    def rollover(_):
        raise AssertionError("an uploaded file was put on the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)


def png(width, height):
    content = io.BytesIO()
    Image.new("1", (width, height)).save(content, "PNG")
    return content.getvalue()


def infer(**changes):
    images = {"name": "images", "datatype": "BYTES", "shape": [1, 1], "data": ["AAAA"], **changes}
    return {"content": json.dumps({"inputs": [images]})}


GOOD = {"files": [("files", ("a.png", png(8, 8)))]}
TWICE = 2 * [{"name": "images", "datatype": "BYTES", "shape": [1, 1], "data": ["AAAA"]}]


@pytest.mark.parametrize(
    ("path", "request_", "status", "message"),
    [
        ("/predict", {"files": [("files", ("a.png", b"x" * 3_100_000))]}, 413, "3 megabytes"),
        ("/predict", {"files": [("files", ("a.png", png(8, 8)))] * 5}, 413, "at most 4 files"),
        ("/predict", {"files": [("files", ("a.png", png(1500, 1500)))]}, 413, "at most 2 million pixels"),
        ("/predict", {"files": [("files", ("a.png", png(30000, 30000)))]}, 422, "view 1: Image size"),
        ("/predict", {"files": [("files", ("a.png", b"no image"))]}, 422, "view 1: no image of a known"),
        ("/predict", {"files": [("other", ("a.png", png(8, 8)))]}, 422, "another field 'other'"),
        ("/predict", {**GOOD, "data": {"bodypart": "PART0"}}, 422, "another field 'bodypart'"),
        ("/predict", {**GOOD, "data": {"body_part": ["PART0", "PART1"]}}, 422, "another field 'body_part'"),
        ("/predict", {**GOOD, "data": {"explain": "maybe"}}, 422, "explain as true or false, got 'maybe'"),
        ("/predict", {**GOOD, "data": {"dicom": "2"}}, 422, "dicom as true or false, got '2'"),
        ("/predict", {"files": [("explain", (None, b""))]}, 422, "expected the field files"),
        ("/predict", {"json": {"files": []}}, 415, "expected multipart/form-data, got application/json"),
        ("/predict", {"content": b"x"}, 415, "got no type"),
        ("/predict", {"data": {"body_part": "PART0"}}, 415, "multipart"),
        ("/predict", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 422, "boundary"),
        ("/v2/models/tiny/infer", {"content": b"{"}, 422, "no JSON"),
        ("/v2/models/tiny/infer", {"content": b"[" * 100_000}, 422, "no JSON"),
        ("/v2/models/tiny/infer", {"json": {}}, 422, "without 'inputs'"),
        ("/v2/models/tiny/infer", {"json": {"inputs": []}}, 422, "expected the inputs images"),
        ("/v2/models/tiny/infer", {"json": {"inputs": TWICE}}, 422, '["images", "images"]'),
        ("/v2/models/tiny/infer", infer(shape=[1, 2]), 422, "with 1 values"),
        ("/v2/models/tiny/infer", infer(shape=[-1, -1]), 422, "shape"),
        ("/v2/models/tiny/infer", infer(shape=[10**30, 1]), 422, "shape"),
        ("/v2/models/tiny/infer", infer(shape=[5, 1], data=["AAAA"] * 5), 413, "at most 4 radiographs"),
        ("/v2/models/tiny/infer", infer(datatype="FP32"), 422, "datatype BYTES"),
        ("/v2/models/tiny/infer", infer(data=[1.5]), 422, "with 0 values"),
        ("/v2/models/tiny/infer", infer(data=["??"]), 422, "base64"),
        ("/v2/models/other/infer", infer(), 404, "expected the model tiny"),
        ("/nowhere", {"content": b"x"}, 404, "Not Found"),
        ("/health", {"content": b"x"}, 405, "Not Allowed"),
    ],
)
def test_what_is_too_large_or_wrong_gets_a_sentence(strict, path, request_, status, message):
    answer = strict.post(path, **request_)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_body_of_no_stated_length_is_counted(strict):
    def chunks():
        for _ in range(40):
            yield b"x" * 100_000

    answer = strict.post("/predict/batch", content=chunks())
    assert (answer.status_code, answer.json()["error"][:22]) == (413, "expected at most 3 meg")


def test_a_form_that_is_cut_off_is_not_predicted_without_its_last_file(strict, files):
    whole = strict.build_request("POST", "/predict", files=form(files[:2]))
    body, kind = whole.read(), whole.headers["content-type"]
    for cut in (5, 600, len(body) - files[0].stat().st_size - 400):
        answer = strict.post("/predict", content=body[:-cut], headers={"content-type": kind})
        assert (answer.status_code, "cut off" in answer.json()["error"]) == (422, True)


def test_200_damaged_requests_at_a_time_neither_crash_it_nor_leave_anything(
    ensemble, strict, files, capfd, caplog
):
    """Bytes of sound requests are changed, cut and repeated; eight clients send them at the same time."""
    good = strict.build_request("POST", "/predict", files=form(files[:2]), data={"body_part": "PART0"})
    kinds = [("/predict", good.read(), good.headers["content-type"])]
    kinds += [
        (path, json.dumps(document).encode(), "application/json")
        for path, document in (
            ("/predict/batch", {"images": encoded(files[:1]), "study_id": "secret-9"}),
            ("/v2/models/tiny/infer", json.loads(infer(data=encoded(files[:1]))["content"])),
        )
    ]
    rng = np.random.default_rng(0)

    def damaged(number):
        path, body, kind = kinds[number % 3]
        changed = bytearray(body)
        for place in rng.integers(0, len(body), rng.integers(1, 6)):
            changed[place] = rng.integers(0, 256)
        if number % 4 == 0:
            changed = changed[: rng.integers(0, len(body))]
        if number % 5 == 0:
            changed *= 2
        return path, bytes(changed), kind

    def send(request):
        path, body, kind = request
        return strict.post(path, content=body, headers={"content-type": kind})

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(send, map(damaged, range(200))))
    assert {answer.status_code for answer in answers} <= {200, 400, 413, 415, 422, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    answer = strict.post("/predict", files=form(files[:1]), data={"body_part": "PART0"})
    expected = ensemble.predict(files[0], "PART0").probabilities
    np.testing.assert_allclose(answer.json()["prediction"]["probabilities"], expected, atol=1e-4)
    assert strict.get("/health").json()["requests"] == 0  # every place was given back
    logged = "".join(capfd.readouterr()) + caplog.text
    assert "secret" not in logged
    assert "Traceback" not in logged


def test_a_full_queue_says_when_to_try_again_and_work_that_takes_too_long_is_dropped(
    ensemble, files, monkeypatch
):
    going_on = threading.Event()

    def slow(*arguments, **options):
        going_on.wait(60)
        raise AssertionError("nobody hears of this")

    limits = Limits(queue=2, seconds=1)
    monkeypatch.setattr(ensemble, "predict", slow)
    with serving(ensemble, limits) as client, ThreadPoolExecutor(2) as clients:
        waiting = [clients.submit(client.post, "/predict", files=form(files[:1])) for _ in range(2)]
        while client.get("/health").json()["requests"] < 2:
            pass
        refused = client.post("/predict", files=form(files[:1]))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert "at most 2 requests at a time" in refused.json()["error"]
        dropped = [each.result() for each in waiting]
        assert {(each.status_code, each.headers["retry-after"]) for each in dropped} == {(503, "1")}
        assert "within 1 seconds" in dropped[0].json()["error"]
        going_on.set()


def test_whoever_sends_too_slowly_loses_the_place(ensemble):
    with serving(ensemble, Limits(queue=1, seconds=1)) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
            connection.sendall(
                b"POST /predict/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf of it"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert client.get("/health").json()["requests"] == 0


def test_many_lines_share_one_place_and_a_client_that_leaves_gives_it_back(ensemble, files):
    line = json.dumps({"images": [base64.b64encode(files[0].read_bytes()).decode()]})
    with serving(ensemble, Limits(queue=1)) as client:
        with client.stream("POST", "/predict/batch", content="\n".join([line] * 50)) as answer:
            rows = answer.iter_lines()
            assert "probabilities" in json.loads(next(rows))
            assert httpx.post(f"{client.base_url}/predict/batch", content=line).status_code == 503
        while client.get("/health").json()["requests"]:
            pass
        assert client.post("/predict/batch", content=line).status_code == 200
