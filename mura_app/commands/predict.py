"""`mura predict`: what a trained run says of new studies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from mura_app.locks import lock_beside, lock_in
from mura_app.terminal import ProgressBars, message, print_json, print_text
from mura_env.consultation.columns import HIGHEST_PRICE, LEAST_PRICE
from mura_env.errors import UserError, UserFileExistsError
from mura_env.utils.options import Range, check_options

if TYPE_CHECKING:
    from mura_app.inference.ensemble import Ensemble
    from mura_app.prediction import FailedStudy, StudyPrediction


@dataclass(frozen=True)
class Command:
    """Options of `mura predict`."""

    run_directory: Annotated[Path, tyro.conf.arg(name="run")]
    """Run directory, or what `mura pack` made of one."""

    images: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """The radiographs of one study (or give `--data` or `--predictions`)."""

    body_part: str | None = None
    """The study's body part, or that of all studies of `--data` whose own is not known; without it, weights
    are averaged over all that the run knows."""

    data: Path | None = None
    """Many studies: the folder of a data set, a `studies.csv` with the columns `path`, `study_id` and, if
    known, `body_part`, or a plain folder, in which each image is a study, and each folder below with all
    its images. Labels are not looked at."""

    predictions: Path | None = None
    """Many studies: a table (`.csv` or `.npz`) of members' outputs, with or without labels."""

    positive: str | None = None
    """With `--predictions`: the positive one of two classes, where their names do not tell."""

    agent: str | None = None
    """Weighting agent; by default the one of highest cross-validated accuracy on the training studies."""

    consult: bool = False
    """Ask the members one after the other, and load and run only those that the agent of consultation asks;
    `mura benchmark --task consult` makes one. `--agent` is then its name, or the folder of a saved one."""

    price: Annotated[float, Range(f"[{LEAST_PRICE}, {HIGHEST_PRICE}]")] | None = None
    """With `--consult`: what asking all members is worth, where a correct answer is worth 1; 0.03 by
    default."""

    defer: bool = False
    """Say `defer` where a study can neither be ruled out with the guarantee of `--npv` nor is found positive
    (extra `[defer]`)."""

    npv: Annotated[float, Range("(0, 1)")] | None = None
    """With `--defer`: share of negative studies among those that are ruled out, at least; 0.95 by
    default."""

    confidence: Annotated[float, Range("(0, 1)")] | None = None
    """With `--defer`: the probability that the guarantee holds; 0.9 by default."""

    overlay: Path | None = None
    """Write the ensemble's heat map of the study's radiographs over them: a `.png`, one a radiograph."""

    dicom: Path | None = None
    """Write the answer on DICOM radiographs as DICOM, a structured report and heat maps, into this folder."""

    refuse_unlike: bool = False
    """Give no answer for studies that are unlike the training images."""

    out: Path | None = None
    """File for many studies, `.csv` or `.jsonl`; standard output without it."""

    resume: bool = False
    """Keep the studies that an interrupted `--out` has, and predict the others."""

    overwrite: bool = False
    """Replace the files that are there."""

    json: bool = False
    """Print a JSON document on standard output; for many studies one a line, unless `--out` takes them."""

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def writes(self) -> tuple[Path, ...]:
        """The locks of what it writes."""
        return tuple(lock_beside(file) for file in (self.out, self.overlay, self.dicom) if file is not None)

    @property
    def reads(self) -> tuple[Path, ...]:
        """The locks of what it reads."""
        return (lock_in(self.run_directory),) if self.run_directory.is_dir() else ()

    def run(self) -> None:
        """Load the run and predict."""
        self._check()
        ensemble = self._loaded()
        if self.images:
            self._predict_one(ensemble)
        else:
            self._predict_many(ensemble)

    def _loaded(self) -> "Ensemble":
        """Load what predicts."""
        if self.consult:
            from mura_app.inference.consulting import ConsultingEnsemble

            return ConsultingEnsemble.load(self.run_directory, self.agent, self.price)
        from mura_app.inference.ensemble import Ensemble

        ensemble = Ensemble.load(self.run_directory, self.agent)
        if self.defer:
            from mura_app.inference.deferral import rule_out_of_run
            from mura_app.run_directory import RunDirectory

            npv, confidence = self.npv or 0.95, self.confidence or 0.9
            run = RunDirectory(self.run_directory)
            ensemble.rule_out = rule_out_of_run(run, ensemble.facts, npv, confidence)
            message(ensemble.rule_out.sentence(ensemble.class_names[1]))
        return ensemble

    def _check_modes(self) -> None:
        """Refuse options that `--consult` and `--defer` do not go with, or that need one of them."""
        for mode, options in (("consult", ("price",)), ("defer", ("npv", "confidence"))):
            for name in options:
                if getattr(self, name) is not None and not getattr(self, mode):
                    raise UserError(f"expected --{name} beside --{mode}, got it alone; add --{mode}")
        for name in ("overlay", "dicom", "refuse_unlike", "defer"):
            if self.consult and getattr(self, name):
                raise UserError(
                    f"expected --{name.replace('_', '-')} with all members, got --consult, which runs some; "
                    "leave one out"
                )

    def _check(self) -> None:
        self._check_modes()
        given = [name for name in ("images", "data", "predictions") if getattr(self, name)]
        if len(given) != 1:
            raise UserError(
                f"expected the images of one study, --data or --predictions, got "
                f"{' and '.join(given) or 'none of them'}; give one of the three"
            )
        alone: dict[str, object] = {"overlay": self.overlay, "dicom": self.dicom}
        if self.data is None:
            alone["body-part"] = self.body_part
        for name in (name for name, value in alone.items() if value is not None and not self.images):
            raise UserError(
                f"expected --{name} beside the images of one study, got many studies; leave it out"
            )
        if self.out is not None and (self.images or self.out.suffix not in {".csv", ".jsonl"}):
            raise UserError(
                f"expected --out FILE.csv or FILE.jsonl for many studies, got {self.out}; change it"
            )
        if self.overlay is not None and self.overlay.suffix != ".png":
            raise UserError(f"expected --overlay FILE.png, got {self.overlay}; change its ending")
        if self.resume and self.out is None:
            raise UserError("expected --resume beside --out, got no file to go on with; name it")
        if self.resume and self.overwrite:
            raise UserError("expected --overwrite or --resume, got both; leave one out")
        part = None if self.out is None else self.out.with_name(f"{self.out.name}.part")
        if part is not None and part.exists() and not (self.overwrite or self.resume):
            raise UserFileExistsError(
                f"{part} holds an interrupted prediction's rows; add --resume to go on, or --overwrite"
            )
        self._check_places(part)
        for file in filter(None, (self.out, self.dicom, *self._overlays())):
            if file.exists() and not (self.overwrite or self.resume):
                raise UserFileExistsError(f"{file} already exists; choose another file, or add --overwrite")

    def _check_places(self, part: Path | None) -> None:
        """Refuse to write over what is read."""
        tables = () if self.data is None else (self.data, self.data / "studies.csv")
        read = {path.resolve() for path in filter(None, (*self.images, self.predictions, *tables))}
        for file in filter(None, (self.out, part, *self._overlays())):
            if file.resolve() in read:
                raise UserError(f"expected a file to write that is not read, got {file}; choose another")
        if self.dicom is not None and self.dicom.resolve() in {image.parent for image in read}:
            raise UserError(
                f"expected a folder for --dicom without the radiographs, got {self.dicom}; choose another"
            )

    def _overlays(self) -> list[Path]:
        """Return the file of each radiograph's overlay."""
        if self.overlay is None or len(self.images) == 1:
            return [] if self.overlay is None else [self.overlay]
        stem = self.overlay.with_suffix("")
        return [stem.with_name(f"{stem.name}-{number}.png") for number in range(1, len(self.images) + 1)]

    def _predict_one(self, ensemble: "Ensemble") -> None:
        from mura_app.inference.shown import hit_rate_sentence, prediction_text
        from mura_app.prediction import PREDICTION

        has_maps = self.overlay is not None or self.dicom is not None
        found = ensemble.predict(list(self.images), self.body_part, heat_maps=has_maps)
        if self.refuse_unlike and (why := _refusal(found)):
            raise UserError(why)
        remarks = [hit_rate_sentence(ensemble.facts)] if self.overlay is not None else []
        for view, file in enumerate(self._overlays()):
            _draw(found, view, self.images[view], file)
            remarks.append(f"heat map: {file}")
        if self.dicom is not None:
            _write_dicom(found, self.images, self.dicom)
            remarks.append(f"DICOM: {self.dicom}")
        if self.json:
            print_json(PREDICTION.dump_python(found, mode="json"))
        else:
            print_text(prediction_text(found))
        for remark in remarks:
            message(remark)

    def _predict_many(self, ensemble: "Ensemble") -> None:
        from mura_app.inference.rows import RowWriter

        is_json = self.json if self.out is None else self.out.suffix == ".jsonl"
        form: Literal["csv", "jsonl"] = "jsonl" if is_json else "csv"
        n_failed = n_done = 0
        with ProgressBars() as progress, RowWriter(ensemble, self.out, form, resume=self.resume) as writer:
            for found in self._found(ensemble, writer.done, progress):
                kept = self._refused(found)
                n_done, n_failed = n_done + 1, n_failed + hasattr(kept, "error")
                writer.write(kept)
        message(f"{n_done:,} studies predicted" + (f", {n_failed:,} of them failed" if n_failed else ""))

    def _found(
        self, ensemble: "Ensemble", done: frozenset[str], progress: ProgressBars
    ) -> "Iterable[StudyPrediction | FailedStudy]":
        if self.predictions is not None:
            from mura_app.predictions_io import load_table

            table = load_table(self.predictions, self.positive, with_labels=False)
            left = [row for row, study in enumerate(table.study_ids) if str(study) not in done]
            return ensemble.predict_table(table.select(left)) if left else ()
        from base_models.datasets.registry import open_unlabelled

        dataset = open_unlabelled(self.data or Path())
        studies = [
            replace(study, body_part=study.body_part or self.body_part or "")
            for study in dataset.studies
            if study.study_id not in done
        ]
        return ensemble.predict_studies(studies, progress)

    def _refused(self, found: "StudyPrediction | FailedStudy") -> "StudyPrediction | FailedStudy":
        from mura_app.prediction import FailedStudy, StudyPrediction

        if self.refuse_unlike and isinstance(found, StudyPrediction) and (why := _refusal(found)):
            return FailedStudy(found.study_id, why)
        return found


def _refusal(found: "StudyPrediction") -> str | None:
    """Say why there is no answer on a study that is unlike the training images."""
    if found.unlike is None:
        return (
            "expected a run that tells how unlike its training images a study is, got one that has not "
            "looked at them; write its report again with `mura report`, or leave out --refuse-unlike"
        )
    if not found.unlike.is_unlike:
        return None
    return (
        f"expected a study like the training images, got {found.unlike.view}, less like them than "
        f"{found.unlike.percentile:.1f} % of held-out studies; check the image, or leave out --refuse-unlike"
    )


def _draw(found: "StudyPrediction", view: int, image: Path, file: Path) -> None:
    """Write the ensemble's heat map over a radiograph."""
    import cv2

    from base_models.imaging.reader import read_grey
    from mura_app.inference.heat_maps import ENSEMBLE, overlay
    from mura_env.utils.files import replacing

    maps = [each for each in found.heat_maps if each.view == view and each.name == ENSEMBLE]
    if not maps:
        raise UserError(
            "expected members with heat maps, of which one sum can be made, got none; leave out --overlay"
        )
    probability = found.views[view].probabilities[-1]
    title = f"{found.class_names[-1]} {probability:.0%} in this view"
    page = overlay(read_grey(image), maps[0], title)
    with replacing(file) as temporary:
        temporary.write_bytes(cv2.imencode(".png", page)[1].tobytes())


def _write_dicom(found: "StudyPrediction", images: tuple[Path, ...], folder: Path) -> None:
    """Write the answer as DICOM files."""
    from mura_app.inference.dicom_out import dicom_results, written
    from mura_env.utils.files import replacing

    files = {name: written(dataset) for name, dataset in dicom_results(found, images)}
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob("heat-map-*.dcm"):  # there may have been more of them
        earlier.unlink()
    for name, content in files.items():
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
