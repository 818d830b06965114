"""A run packed for others: networks, agent, ONNX, documents, digests; nothing that a load would execute."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from mura_app.inference.ensemble import Ensemble
from mura_app.inference.export import export, has_libraries, preprocessing
from mura_app.inference.facts import FORMAT_VERSION, PACKED, REFERENCE, agent_folder
from mura_app.inference.pack_files import digest
from mura_app.inference.shown import NOTICE
from mura_app.run_directory import RunDirectory
from mura_app.schema import Pack, TrainingRecord, read_document
from mura_env.errors import UserError, UserFileError
from mura_env.utils.files import regular_file, replacing, write_json, write_text
from mura_env.utils.text import printable

UNKNOWN_LICENCE = "not stated"
_LICENCES = {
    "MURA": "Stanford University School of Medicine MURA Dataset Research Use Agreement: no redistribution",
    "FracAtlas": "CC BY 4.0",
    "synthetic": "none: drawn by mura synthesize",
}
"""Kind of data set → the terms of its images."""
_TAGS = ("radiographs", "ensemble", "reinforcement-learning", "image-classification")


def pack(run: Path, agent: str | None, out: Path, *, licence: str | None = None) -> tuple[Pack, list[str]]:
    """Write what prediction needs of a finished run into a new folder, or an archive if `out` ends in `.zip`.

    Args:
        run: The run directory.
        agent: The weighting agent; by default the one that `Ensemble.load` takes.
        out: The folder or archive, which must not be there.
        licence: Terms of the training data; by default what is known of its kind.

    Returns:
        What `pack.json` holds, and remarks.

    Raises:
        UserError: If the run has no members, or is not finished.
    """
    ensemble = Ensemble.load(run, agent)
    if not ensemble.members:
        raise UserError(f"expected a run with trained members to pack, got {run} of tables; pack another run")
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        folder = Path(temporary) / out.name.removesuffix(".zip")
        folder.mkdir()
        document, remarks = _write(run, ensemble, folder, licence)
        if out.suffix != ".zip":
            folder.replace(out)
        else:
            with replacing(out) as archive, ZipFile(archive, "w", ZIP_DEFLATED) as file:
                for path in _files(folder):
                    file.write(path, path.relative_to(folder))
    return document, remarks


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(run: Path, ensemble: Ensemble, folder: Path, licence: str | None) -> tuple[Pack, list[str]]:
    remarks: list[str] = []
    for part in (run / "members", run / REFERENCE, agent_folder(run, ensemble.facts)):
        for path in [part] if part.is_file() else sorted(part.rglob("*")):
            names = path.relative_to(run).parts
            if any(name.startswith(".") or ".epoch." in name for name in names) or (
                path.is_dir() and not path.is_symlink()
            ):
                continue
            target = folder.joinpath(*names)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(own_file(run, path), target)
    try:
        if not has_libraries():
            raise UserError("its libraries are not installed (the extra [export])")
        export(ensemble, folder / "model.onnx")
    except UserError as error:
        remarks.append(f"There is no model.onnx: {error}.")
    directory = RunDirectory(run)
    record = read_document(
        directory.training_path, TrainingRecord, "the record of a training", "pack another"
    )
    data = str(record["dataset"]["name"])
    terms = licence or _LICENCES.get(data, UNKNOWN_LICENCE)
    card = own_file(run, directory.model_card_path).read_text(encoding="utf-8", errors="replace")
    write_text(folder / directory.model_card_path.name, front_matter(ensemble, data, terms) + card)
    document = Pack(
        format_version=FORMAT_VERSION,
        title=run.resolve().name,
        ensemble=ensemble.facts,
        preprocessing=preprocessing(ensemble),
        notice=NOTICE,
        data_licence=terms,
        sha256={path.relative_to(folder).as_posix(): digest(path) for path in _files(folder)},
    )
    write_json(folder / PACKED, document.model_dump(mode="json"))
    return document, remarks


def own_file(run: Path, path: Path) -> Path:
    """Return the path of a file of a run; what a link leads to elsewhere is not the run's to give away.

    Raises:
        UserFileError: If it is a link that leads out of the run, or no file.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(run)):
        raise UserFileError(
            f"expected files of the run to pack, got {path}, a link that leads to {os.path.realpath(path)}; "
            "put what it leads to in its place"
        )
    return regular_file(path, "a file of the run to pack")


def front_matter(ensemble: Ensemble, data: str, licence: str) -> str:
    """Return the usual front matter of a model card, in YAML, with text in quotation marks."""
    lines = [
        "license: other",
        f"license_name: {_quoted(licence)}",
        "library_name: mura-rl-ensemble",
        "pipeline_tag: image-classification",
        "tags:",
        *(f"- {tag}" for tag in _TAGS),
        f"datasets: [{_quoted(data)}]",
        f"labels: [{', '.join(map(_quoted, ensemble.class_names))}]",
    ]
    return "\n".join(["---", *lines, "---", "", ""])


def _quoted(text: str) -> str:
    return "'" + printable(re.sub(r"\s+", " ", text)).replace("'", "''") + "'"
