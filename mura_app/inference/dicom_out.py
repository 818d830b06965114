"""The answer on a DICOM study as DICOM: a structured report, and heat maps as pictures of the study.

The report follows TID 1500, Measurement Report (DICOM PS3.16); pictures are secondary captures.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mura_app
from base_models.imaging.reader import decode, quiet_decoders, read_file
from mura_app.inference.heat_maps import ENSEMBLE, overlay
from mura_app.inference.shown import NOTICE
from mura_app.prediction import StudyPrediction
from mura_env.errors import UserError

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.sr.coding import Code

MANUFACTURER = "mura-rl-ensemble"
_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Elements of patient and study (type 2) that are written empty where the radiographs lack them."""


def dicom_results(found: StudyPrediction, images: Sequence[Path | bytes]) -> Iterator[tuple[str, "Dataset"]]:
    """Yield the report on a study, and a picture of each radiograph's heat map, each with a file's name.

    Args:
        found: The prediction, with heat maps if there are to be pictures.
        images: The radiographs that it is on, files or their bytes, all of them DICOM and of one study.

    Raises:
        UserError: If they are not, or the libraries are not installed.
    """
    if not find_spec("highdicom"):
        raise UserError(
            "expected the library highdicom to write DICOM, but it is not installed; install it with: "
            "pip install 'mura-rl-ensemble[dicom]'"
        )
    contents = [read_file(image) if isinstance(image, Path) else image for image in images]
    radiographs = [_header(view.name, data) for view, data in zip(found.views, contents, strict=True)]
    if len({each.StudyInstanceUID for each in radiographs}) > 1:
        raise UserError("expected radiographs of one DICOM study, got several; give one study's at a time")
    with _refusing():
        report = _report(found, radiographs)
    yield "report.dcm", report
    maps = [each for each in found.heat_maps if each.name == ENSEMBLE]
    series = _new_uid()
    for number, heat in enumerate(maps, start=1):
        grey = decode(Path("view.dcm"), contents[heat.view]).grey
        share = found.views[heat.view].probabilities[-1]
        page = overlay(grey, heat, f"Research, not for diagnosis: {found.class_names[-1]} {share:.0%}")
        pixels = np.ascontiguousarray(page[:, :, ::-1])
        with _refusing():
            picture = _picture(pixels, radiographs[heat.view], series, number)
        yield f"heat-map-{number}.dcm", picture


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse radiographs with elements of patient or study that must not be carried over as they are."""
    try:
        with quiet_decoders:  # their warnings show values
            yield
    except Exception as error:  # highdicom and pydicom raise many kinds
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"expected DICOM radiographs with valid elements of patient and study, got one that does not "
            f"conform ({reason}); mend the file, or ask without DICOM"
        ) from error


def written(dataset: "Dataset") -> bytes:
    """Return the bytes of a DICOM file."""
    content = io.BytesIO()
    dataset.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _header(name: str, data: bytes) -> "Dataset":
    """Read what identifies a radiograph."""
    import pydicom  # noqa: PLC0415 - an extra

    try:
        with quiet_decoders:
            header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        missing = [element for element in _IDENTITY if not header.get(element)]
    except Exception as error:  # pydicom raises many kinds
        raise UserError(
            f"expected DICOM radiographs to answer in DICOM, got {name}, which is another kind of file"
        ) from error
    if missing:
        raise UserError(
            f"expected DICOM radiographs that can be referred to, got {name} without {missing[0]}"
        )
    for element in _MAY_BE_EMPTY:
        if element not in header:
            setattr(header, element, "")
    return header


def _new_uid() -> str:
    from pydicom.uid import generate_uid  # noqa: PLC0415 - an extra

    return str(generate_uid(prefix=None))  # of a random UUID: needs no root of one's own


def _coded(name: str, number: int) -> "Code":
    """Return the code of a class, SNOMED CT's where it has one."""
    from pydicom.sr.coding import Code  # noqa: PLC0415 - an extra

    known = {"normal": ("17621005", "Normal"), "abnormal": ("263654008", "Abnormal")}
    if name in known:
        value, meaning = known[name]
        return Code(value, "SCT", meaning)
    return Code(f"class-{number}", "99MURA", name[:64])


def _report(found: StudyPrediction, radiographs: Sequence["Dataset"]) -> "Dataset":
    """Return the structured report: the probability of each finding, and the predicted class."""
    import highdicom as hd  # noqa: PLC0415 - an extra
    from pydicom.sr.codedict import codes  # noqa: PLC0415
    from pydicom.sr.coding import Code  # noqa: PLC0415

    parameters = [f"weighting agent: {found.agent}", NOTICE]
    if found.threshold is not None:
        parameters.append(f"threshold: {found.threshold:.6f}, chosen out of fold")
    algorithm = hd.sr.AlgorithmIdentification(MANUFACTURER, mura_app.__version__, parameters)
    predicted = found.class_names.index(found.predicted_class)
    evaluated = Code("predicted-class", "99MURA", "Predicted class")
    sources = [
        hd.sr.SourceImageForMeasurementGroup(each.SOPClassUID, each.SOPInstanceUID) for each in radiographs
    ]
    groups = [
        hd.sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=hd.sr.TrackingIdentifier(_new_uid(), found.class_names[number]),
            finding_type=_coded(found.class_names[number], number),
            algorithm_id=algorithm,
            measurements=[
                hd.sr.Measurement(
                    codes.DCM.Probability, round(found.probabilities[number], 6), codes.UCUM.NoUnits
                )
            ],
            qualitative_evaluations=[
                hd.sr.QualitativeEvaluation(evaluated, _coded(found.predicted_class, predicted))
            ],
            source_images=sources,
        )
        for number in range(1, len(found.class_names))
    ]
    observer = hd.sr.ObserverContext(
        codes.DCM.Device,
        hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_new_uid(), name=MANUFACTURER, manufacturer_name=MANUFACTURER, model_name=found.agent[:64]
        ),
    )
    content = hd.sr.MeasurementReport(
        hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.sr.EnhancedSR(
        evidence=list(radiographs),
        content=content[0],
        series_number=1,
        instance_number=1,
        series_instance_uid=_new_uid(),
        sop_instance_uid=_new_uid(),
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
        **_equipment(),
    )


def _picture(pixels: np.ndarray[Any, Any], radiograph: "Dataset", series: str, number: int) -> "Dataset":
    """Return a secondary capture of a picture of a radiograph, shape (height, width, 3), dtype uint8."""
    import highdicom as hd  # noqa: PLC0415 - an extra
    from pydicom import Dataset  # noqa: PLC0415

    picture = hd.sc.SCImage.from_ref_dataset(
        radiograph,
        pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # a tuple is asked for; what is known stands below
        series_instance_uid=series,
        series_number=2,
        sop_instance_uid=_new_uid(),
        instance_number=number,
        manufacturer=MANUFACTURER,
        **_equipment(),
    )
    picture.Laterality = radiograph.get("ImageLaterality") or radiograph.get("Laterality", "")
    picture.PatientOrientation = radiograph.get("PatientOrientation", "")
    picture.ImageType = ["DERIVED", "SECONDARY"]
    source = Dataset()
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = (
        radiograph.SOPClassUID,
        radiograph.SOPInstanceUID,
    )
    picture.SourceImageSequence = [source]
    picture.BurnedInAnnotation = radiograph.get("BurnedInAnnotation", "YES")  # what is unknown may be there
    picture.DerivationDescription = f"Heat map of {MANUFACTURER}. {NOTICE}"
    picture.SeriesDescription = "Heat maps, not for diagnosis"
    return picture


def _equipment() -> dict[str, Any]:
    return {
        "manufacturer_model_name": MANUFACTURER,
        "software_versions": mura_app.__version__,
        "device_serial_number": "0",
    }
