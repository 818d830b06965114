"""The open inference protocol (version 2), by which model servers are asked: metadata, health, inference."""

from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

import mura_app
from mura_app.inference.ensemble import Ensemble
from mura_app.prediction import StudyPrediction
from mura_app.server.answers import prediction_on
from mura_app.server.limits import Limits, PredictionQueue
from mura_app.server.requests import SentInference, Tensor, parse, sent_studies
from mura_env.errors import UserError

_SENT = SentInference.model_json_schema(ref_template="#/components/schemas/{model}")
"""Without the definition of `Tensor`, which the answer brings into the OpenAPI document."""
_SENT.pop("$defs")


class Model(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Inference(BaseModel):
    """The answer to an inference request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[Tensor]


def add_routes(app: FastAPI, ensemble: Ensemble, name: str, queue: PredictionQueue, limits: Limits) -> None:
    """Add the protocol's routes."""
    _add_states(app, name)
    n_models, n_classes = len(ensemble.members), len(ensemble.class_names)
    shapes = {
        "probabilities": [n_classes],
        "weights": [n_models],
        "member_probabilities": [n_models, n_classes],
        "uniform_probabilities": [n_classes],
    }

    @app.get("/v2/models/{model}", response_model=Model, response_model_exclude_none=True)
    def metadata(model: str) -> Model:
        """Say what the model takes and gives."""
        _check_name(model, name)
        return Model(
            name=name,
            versions=[mura_app.__version__],
            platform="mura",
            inputs=[
                Tensor(name="images", datatype="BYTES", shape=[-1, -1]),
                Tensor(name="body_part", datatype="BYTES", shape=[-1]),
            ],
            outputs=[Tensor(name=out, datatype="FP64", shape=[-1, *shape]) for out, shape in shapes.items()],
        )

    @app.post(
        "/v2/models/{model}/infer",
        response_model=Inference,
        response_model_exclude_none=True,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _SENT}},
            }
        },
    )
    async def infer(model: str, request: Request) -> Inference:
        """Predict studies: `images` are image files in base64, of shape [n_studies, n_views]."""
        _check_name(model, name)
        sent = parse(SentInference, await request.body())
        wanted = [str(each.get("name")) for each in sent.outputs or []] or list(shapes)
        if unknown := [out for out in wanted if out not in shapes]:
            raise UserError(f"expected outputs of {', '.join(shapes)}, got {unknown[0][:80]!r}; name these")
        studies = sent_studies(sent, limits)
        found = [await queue.run(partial(prediction_on, ensemble, study, limits)) for study in studies]
        return Inference(
            model_name=name,
            model_version=mura_app.__version__,
            id=sent.id,
            outputs=_tensors(found, [(out, shapes[out]) for out in wanted]),
        )


def _tensors(found: list[StudyPrediction], wanted: list[tuple[str, list[int]]]) -> list[Tensor]:
    """Return outputs of predictions, each by its name and the shape of a study's."""
    arrays: dict[str, Any] = {
        "probabilities": [each.probabilities for each in found],
        "weights": [[member.weight for member in each.members] for each in found],
        "member_probabilities": [[member.probabilities for member in each.members] for each in found],
        "uniform_probabilities": [each.uniform_probabilities for each in found],
    }
    return [
        Tensor(name=out, datatype="FP64", shape=[len(found), *shape], data=np.ravel(arrays[out]).tolist())
        for out, shape in wanted
    ]


def _add_states(app: FastAPI, name: str) -> None:
    """Add the routes that tell what runs."""

    @app.get("/v2")
    def server() -> dict[str, Any]:
        """Say what server this is."""
        return {"name": "mura", "version": mura_app.__version__, "extensions": []}

    @app.get("/v2/health/live")
    def live() -> dict[str, bool]:
        """Say that the server runs."""
        return {"live": True}

    @app.get("/v2/health/ready")
    def ready() -> dict[str, bool]:
        """Say that the model is loaded: the server does not run without it."""
        return {"ready": True}

    @app.get("/v2/models/{model}/ready")
    def model_ready(model: str) -> dict[str, Any]:
        """Say that the model is loaded."""
        _check_name(model, name)
        return {"name": name, "ready": True}


def _check_name(asked: str, name: str) -> None:
    if asked != name:
        raise HTTPException(404, f"expected the model {name}, got another name")
