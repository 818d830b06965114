"""What a server is sent, read in memory: forms with files, lines of JSON, the open inference protocol."""

import base64
import binascii
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from base_models.imaging.reader import image_size
from mura_app.server.limits import Limits, RefusedError
from mura_env.errors import UserError
from mura_env.utils.text import misfit, shortened

Sent = TypeVar("Sent", bound=BaseModel)

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "description": "The radiographs of one study.",
                        },
                        "body_part": {"type": "string", "description": "Empty where it is not known."},
                        "explain": {"type": "boolean", "description": "With heat maps.", "default": False},
                        "dicom": {
                            "type": "boolean",
                            "description": "As DICOM, too, where all files are DICOM.",
                            "default": False,
                        },
                    },
                }
            }
        },
    }
}
"""What `read_study` reads, for the OpenAPI document."""


class _InMemory(MultiPartParser):
    """Never puts what it reads on the disk; how much that is, the gate bounds. A form must have its end."""

    spool_max_size = 2**62
    _has_end = False

    def on_end(self) -> None:
        self._has_end = True

    async def parse(self) -> FormData:
        form = await super().parse()
        if not self._has_end:  # its last file would be missing without a word
            for file in self._files_to_close_on_error:
                file.close()
            raise MultiPartException("it is cut off")
        return form


def decoded(text: Any) -> bytes:
    """Return what a base64 text holds.

    Raises:
        UserError: If it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise UserError("with an image that is no file in base64") from None


class SentStudy(BaseModel):
    """A study of `POST /predict`, or a line of `POST /predict/batch`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
    images: Annotated[list[Annotated[bytes, BeforeValidator(decoded)]], Field(min_length=1)]
    """Its radiographs: image files in base64."""
    body_part: str = ""
    """One that the run knows; empty or left out where it is not known."""
    study_id: str = "study"
    """What the answer calls it."""
    explain: bool = False
    """Whether heat maps are asked for; in a form only."""
    dicom: bool = False
    """Whether the answer is asked for as DICOM, too; in a form only."""


class Tensor(BaseModel):
    """A tensor of the open inference protocol; without data, what one looks like (-1 is any number)."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str] | list[list[str]] | list[float] | None = None


class SentInference(BaseModel):
    """A request of the open inference protocol; what is optional and not known is passed over."""

    id: str | None = None
    inputs: list[Tensor]
    outputs: list[dict[str, Any]] | None = None


def parse(model: type[Sent], text: bytes) -> Sent:
    """Read a JSON document.

    Raises:
        UserError: If it is none, or does not fit the model.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        errors = error.errors()
        what = "no JSON" if errors[0]["type"] == "json_invalid" else f"one {misfit(errors)}"
        raise UserError(f"expected a JSON document as /openapi.json describes, got {what}") from None


async def read_study(request: Request, limits: Limits) -> SentStudy:
    """Read the form of `POST /predict`.

    Raises:
        RefusedError: If it is no form, or has too many files.
        UserError: If it is damaged, or a field is missing.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RefusedError(415, f"expected multipart/form-data, got {kind[:80] or 'no type'}; send a form")
    try:
        form = await _InMemory(
            request.headers, request.stream(), max_files=limits.radiographs, max_fields=8
        ).parse()
    except MultiPartException as error:
        too_many = error.message.startswith("Too many files")
        what = "more of them" if too_many else f"a damaged one ({error.message.rstrip('.')})"
        raise RefusedError(
            413 if too_many else 422,
            f"expected a form of at most {limits.radiographs} files, got {what}; send another",
        ) from None
    files: list[bytes] = []
    fields: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "files":
            files.append(await value.read())
        elif isinstance(value, str) and name in _FIELDS and name not in fields:
            fields[name] = value
        else:
            unknown.append(name)
    await form.close()
    if unknown:
        raise UserError(
            f"expected files, and once each {', '.join(_FIELDS)} as text, got another field "
            f"{shortened(unknown[0])}; leave it out, or give it its name"
        )
    if not files:
        raise UserError("expected the field files with the study's radiographs, got none; add them")
    return SentStudy.model_construct(
        images=files,
        body_part=fields.get("body_part", ""),
        study_id="study",
        explain=_is_yes("explain", fields),
        dicom=_is_yes("dicom", fields),
    )


_FIELDS = ("body_part", "explain", "dicom")


def _is_yes(name: str, fields: Mapping[str, str]) -> bool:
    text = fields.get(name, "").strip().lower()
    if text not in {*_YES, *_NO}:
        raise UserError(f"expected {name} as true or false, got {shortened(text)}; say which")
    return text in _YES


_YES, _NO = ("1", "true", "on", "yes"), ("0", "false", "off", "no", "")


async def lines(request: Request) -> AsyncIterator[bytes]:
    """Yield the lines of a body that are not empty, one by one: its size is bounded, their number is not."""
    for line in (await request.body()).splitlines():
        if line.strip():
            yield line


def sent_studies(sent: SentInference, limits: Limits) -> list[SentStudy]:
    """Return the studies of an inference request: `images` (n_studies, n_views), `body_part` (n_studies,).

    Raises:
        UserError: If shapes or types do not fit.
    """
    tensors = {tensor.name: tensor for tensor in sent.inputs}
    images, parts = tensors.pop("images", None), tensors.pop("body_part", None)
    twice = 1 + (parts is not None) < len(sent.inputs) and not tensors
    if images is None or tensors or twice:
        raise UserError(
            "expected the inputs images and, if known, body_part, got "
            + json.dumps([tensor.name for tensor in sent.inputs])[:200]
        )
    if len(images.shape) != 2 or min(images.shape) < 1:
        raise UserError(f"expected images of shape [n_studies, n_views], got {images.shape[:8]}")
    n_studies, n_views = images.shape
    for tensor, shape in ((images, images.shape), (parts, [n_studies])):
        if tensor is None:
            continue
        data = _flat(tensor)
        if tensor.datatype != "BYTES" or tensor.shape != shape or len(data) != math.prod(shape):
            raise UserError(
                f"expected {tensor.name} of datatype BYTES and shape {shape}, got {tensor.datatype[:20]} of "
                f"shape {tensor.shape[:8]} with {len(data)} values"
            )
    if n_studies * n_views > limits.radiographs:
        raise RefusedError(
            413, f"expected at most {limits.radiographs} radiographs, got {n_studies * n_views}; send fewer"
        )
    files = [decoded(text) for text in _flat(images)]
    names = [""] * n_studies if parts is None else _flat(parts)
    return [
        SentStudy.model_construct(images=files[n * n_views : (n + 1) * n_views], body_part=names[n])
        for n in range(n_studies)
    ]


def _flat(tensor: Tensor) -> list[str]:
    """Return texts row by row; they may be sent so, or nested. Numbers are none."""
    rows = (row if isinstance(row, list) else [row] for row in tensor.data or [])
    return [text for row in rows for text in row if isinstance(text, str)]


def check_pixels(images: Sequence[bytes], limits: Limits) -> None:
    """Refuse too many radiographs, or too many pixels, by the files' headers.

    Raises:
        RefusedError: If there are more.
        ImageError: If a header cannot be read.
    """
    if len(images) > limits.radiographs:
        raise RefusedError(
            413,
            f"expected at most {limits.radiographs} radiographs of a study, got {len(images)}; send fewer",
        )
    sizes = [image_size(Path(f"view {n}"), data) for n, data in enumerate(images, start=1)]
    pixels = sum(math.prod(size) for size in sizes)
    if pixels > limits.megapixels * 10**6:
        raise RefusedError(
            413,
            f"expected at most {limits.megapixels} million pixels in a study, got {pixels / 10**6:.1f}; "
            "send smaller files",
        )
