"""The routes of `mura serve`: the page, predictions, the open inference protocol, health and metrics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import jinja2
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import mura_app
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.shown import NOTICE, hit_rate_sentence
from mura_app.prediction import FailedStudy, StudyPrediction
from mura_app.report.html_page import resource
from mura_app.server import open_inference
from mura_app.server.answers import ROW, Answer, answer_on, prediction_on
from mura_app.server.limits import Gate, Limits, PredictionQueue, RefusedError
from mura_app.server.metrics import Metrics
from mura_app.server.requests import FORM, SentStudy, lines, parse, read_study
from mura_env.errors import UserError

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str
    """One sentence."""


_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "model": Refusal}
    for status, text in (
        (408, "Not sent in time"),
        (413, "Too large"),
        (415, "No form"),
        (422, "Not to be read; a sentence says why"),
        (503, "Too many requests at a time, see Retry-After"),
    )
}


def create_app(ensemble: Ensemble, name: str, limits: Limits, *, with_metrics: bool = False) -> ASGIApp:
    """Return the application (ASGI).

    Args:
        ensemble: What predicts, in one thread.
        name: What the model is called.
        limits: The most that it takes.
        with_metrics: Whether `/metrics` is there.
    """
    queue = PredictionQueue(limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    app = FastAPI(
        title="mura", version=mura_app.__version__, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.add_exception_handler(UserError, _user_error)
    app.add_exception_handler(HTTPException, _http_error)
    _add_page(app, ensemble, name)
    _add_predictions(app, ensemble, queue, limits)
    open_inference.add_routes(app, ensemble, name, queue, limits)

    @app.get("/health")
    def health() -> dict[str, str | int]:
        """Say that the server answers, and how many requests it has."""
        return {"status": "ok", "model": name, "requests": queue.n_requests}

    gated = _WithHeaders(Gate(app, queue, limits))
    if not with_metrics:
        return gated
    metrics = Metrics(gated, queue)

    @app.get("/metrics", response_class=PlainTextResponse)
    def text() -> PlainTextResponse:
        """Return counts and times in Prometheus' text format."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")

    return metrics


def server_of(app: ASGIApp) -> uvicorn.Server:
    """Return what serves the application; it logs no requests, whose addresses can hold what is private."""
    return uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=10
        )
    )


def _add_predictions(app: FastAPI, ensemble: Ensemble, queue: PredictionQueue, limits: Limits) -> None:
    @app.post("/predict", response_model=Answer, responses=_ERRORS, openapi_extra=FORM)
    async def predict(request: Request) -> Response:
        """Predict one study."""
        study = await read_study(request, limits)
        document = await queue.run(partial(answer_on, ensemble, study, limits))
        return Response(document, media_type="application/json")

    @app.post("/predict/batch", responses=_ERRORS, openapi_extra=_ndjson())
    async def batch(request: Request) -> StreamingResponse:
        """Predict many studies, a JSON document a line; a bad study's line says why, and the rest go on."""
        sent = [line async for line in lines(request)]

        async def row(line: bytes) -> StudyPrediction | FailedStudy:
            study_id = "study"
            try:
                study = parse(SentStudy, line)
                study_id = study.study_id
                if study.explain or study.dicom:
                    raise UserError("expected explain and dicom in a form to /predict, got one in a line")
                return await queue.run(partial(prediction_on, ensemble, study, limits))
            except UserError as error:
                return FailedStudy(study_id, str(error))

        async def rows() -> AsyncIterator[bytes]:
            for line in sent:
                yield ROW.dump_json(await row(line)) + b"\n"

        return StreamingResponse(rows(), media_type="application/x-ndjson")


def _ndjson() -> dict[str, Any]:
    schema = SentStudy.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/x-ndjson": {"schema": schema}}}}


def _add_page(app: FastAPI, ensemble: Ensemble, name: str) -> None:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(resource("mura_app.server", "page.jinja")).render(
        name=name,
        body_parts=ensemble.body_part_names,
        members=[member.config.name for member in ensemble.members],
        agent=ensemble.facts.agent,
        notice=NOTICE,
        hit_rate=hit_rate_sentence(ensemble.facts),
    )
    bars = '<rect x="2" y="6" width="6" height="9"/><rect x="9" y="1" width="6" height="14"/>'
    files = {
        "/icon.svg": (
            "image/svg+xml",
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="#1f6fb2">{bars}</svg>',
        ),
        "/": ("text/html", page),
        "/page.css": (
            "text/css",
            resource("mura_app.report", "page.css") + resource("mura_app.server", "page.css"),
        ),
        "/page.js": ("text/javascript", resource("mura_app.server", "page.js")),
    }

    async def send(request: Request) -> Response:
        kind, content = files[request.url.path]
        return Response(content, media_type=kind)

    for path in files:
        app.add_route(path, send, methods=["GET"])


async def _user_error(_: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, RefusedError) else RefusedError(422, str(error))
    return refusal.response()


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for these
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


class _WithHeaders:
    """Adds to every answer what browsers must keep to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
