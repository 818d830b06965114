"""The ensemble as an ONNX file, checked against torch, with what a user of the file must know inside."""

import json
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.datasets.study import Study
from mura_app.inference.ensemble import Ensemble
from mura_app.inference.graph import EnsembleGraph
from mura_app.inference.shown import NOTICE
from mura_app.inference.sources import decode_views
from mura_app.prediction import StudyPrediction
from mura_env.errors import UserError
from mura_env.utils.files import replacing

OUTPUTS = ("probabilities", "weights", "member_probabilities", "heat_map")
"""Names of the outputs, see `mura_app.inference.graph.EnsembleGraph.forward`."""
_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportCheck:
    """How the file compares with torch."""

    n_studies: int
    """Studies that both have predicted."""
    largest_difference: float
    """Between class probabilities of the ensemble or of a member."""
    torch_ms: float
    """Median milliseconds a study, one by one, without decoding, heat maps included."""
    onnx_ms: float
    """The same of the file."""


def has_libraries() -> bool:
    """Say whether what exports is installed."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


def preprocessing(ensemble: Ensemble) -> dict[str, Any]:
    """Say how a radiograph becomes an input, JSON-ready."""
    square = next(iter(ensemble.members)).square_format
    return {
        "grey": "8 bits, 0 black",
        "crop": "to the patient, see base_models.imaging.patient_box" if square.crop else "none",
        "aspect": square.aspect,
        "side": square.side,
        "normalisation": "inside of the graph",
    }


def export(ensemble: Ensemble, out: Path) -> None:
    """Write the ensemble as one graph of a dynamic number of studies and views.

    Raises:
        UserError: If the libraries are not installed, or members or agent cannot be exported.
    """
    if not has_libraries():
        raise UserError(
            "expected the libraries of the extra [export] to write ONNX, but they are not installed; install "
            "them with: pip install 'mura-rl-ensemble[export]'"
        )
    graph = EnsembleGraph(ensemble).eval()
    side = graph.square.side
    example = (
        torch.zeros(3, 2, side, side, dtype=torch.uint8),
        torch.tensor([1, 2, 2]),
        torch.tensor([0, 0, len(ensemble.body_part_names)]),
    )
    batch, views = torch.export.Dim("batch"), torch.export.Dim("views")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its own workings
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes=({0: batch, 1: views}, {0: batch}, {0: batch}),
            input_names=["images", "n_views", "body_part"],
            output_names=list(OUTPUTS),
            external_data=False,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - with dynamo it is a program
    facts = {
        "classes": ensemble.class_names,
        "positive_class": ensemble.positive_class,
        "body_parts": [*ensemble.body_part_names, "(not given)"],
        "members": ensemble.agent.model_names_,
        "agent": ensemble.facts.agent,
        "threshold": ensemble.facts.threshold,
        "preprocessing": preprocessing(ensemble),
        "notice": NOTICE,
    }
    program.model.metadata_props.update({name: json.dumps(value) for name, value in facts.items()})
    with replacing(out) as temporary:
        program.save(temporary, external_data=False)


def check_export(ensemble: Ensemble, file: Path, studies: Sequence[Study]) -> ExportCheck:
    """Predict studies with torch and with the file, which has no part in the other's result.

    Raises:
        UserError: If no study can be read.
    """
    import onnxruntime  # noqa: PLC0415 - an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    graph, differences, seconds = EnsembleGraph(ensemble).eval(), [], []
    for study in studies:
        found = next(iter(ensemble.predict_studies([study])))
        if not isinstance(found, StudyPrediction):
            continue
        feed = graph_inputs(ensemble, study)
        started = time.perf_counter()
        with torch.inference_mode():
            graph(*(torch.from_numpy(array) for array in feed.values()))
        ready = time.perf_counter()
        probabilities, _, members, _ = session.run(None, feed)
        ended = time.perf_counter()
        own = [found.probabilities, *(member.probabilities for member in found.members)]
        differences.append(np.abs(np.vstack([probabilities, members[0]]) - own).max())
        seconds.append((ready - started, ended - ready))
    if not differences:
        raise UserError("expected studies whose radiographs can be read to check the file on, got none")
    both = np.median(seconds, axis=0) * 1000
    return ExportCheck(len(differences), float(max(differences)), float(both[0]), float(both[1]))


def graph_inputs(ensemble: Ensemble, study: Study) -> dict[str, NDArray[Any]]:
    """Return what the graph takes of one study."""
    paths = study.image_paths
    decoded = decode_views(ensemble.members, paths, [(path, str(path)) for path in paths]).images
    parts = ensemble.body_part_names
    part = parts.index(study.body_part) if study.body_part in parts else len(parts)
    return {
        "images": decoded.of_member(ensemble.members[0])[None],
        "n_views": np.array([len(paths)]),
        "body_part": np.array([part]),
    }
