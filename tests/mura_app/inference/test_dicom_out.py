"""The answer as DICOM: other libraries read the same numbers back, and a validator finds no fault."""

import shutil
import subprocess

import numpy as np
import pytest

from base_models.imaging.decoding import Placement
from mura_app.inference.dicom_out import dicom_results, written
from mura_app.inference.heat_maps import HeatMap
from mura_app.prediction import MemberOpinion, StudyPrediction, ViewOpinion
from tests.base_models.imaging.dicoms import write_dicom

highdicom = pytest.importorskip("highdicom", reason="the extra [dicom] is not installed")
pydicom = pytest.importorskip("pydicom", reason="the extra [dicom] is not installed")

VALIDATOR = shutil.which("dciodvfy")


def prediction(n_views, class_names=("normal", "abnormal"), probabilities=(0.3, 0.7)):
    square = np.add.outer(np.arange(96), np.arange(96)).astype(np.float32)
    at = Placement(0.0, 0.0, 1 / 50, 1 / 60, 50, 60)
    return StudyPrediction(
        study_id="s",
        body_part=None,
        class_names=class_names,
        positive_class=class_names[1] if len(class_names) == 2 else None,
        probabilities=probabilities,
        predicted_class=class_names[int(np.argmax(probabilities))],
        threshold=0.4 if len(class_names) == 2 else None,
        agent="uniform",
        members=(MemberOpinion("one", probabilities, 1.0),),
        uniform_probabilities=probabilities,
        uniform_predicted_class=class_names[0],
        agreement=1.0,
        views=tuple(ViewOpinion(f"view {number + 1}", probabilities) for number in range(n_views)),
        n_views=n_views,
        unlike=None,
        heat_maps=tuple(HeatMap("ensemble", "sum", view, square, at) for view in range(n_views)),
    )


@pytest.fixture
def radiographs(tmp_path):
    rng = np.random.default_rng(0)
    return [
        write_dicom(
            tmp_path / f"{number}.dcm",
            rng.integers(0, 4096, (60, 50), dtype=np.uint16),
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
            SOPInstanceUID=f"1.2.3.4.{number}",
            PatientName="Doe^Jane",
            PatientID="p7",
            PatientSex="F",
            StudyDate="20250102",
            StudyTime="101010",
            StudyID="5",
            AccessionNumber="a9",
            ImageLaterality="L",
        )
        for number in (1, 2)
    ]


@pytest.mark.parametrize(
    ("class_names", "probabilities"),
    [
        (("normal", "abnormal"), (0.3, 0.7)),
        (("normal", "fracture", "implant"), (0.2, 0.123456789, 0.676543211)),
    ],
)
def test_the_report_holds_the_prediction_and_refers_to_the_radiographs(
    radiographs, tmp_path, class_names, probabilities
):
    found = prediction(2, class_names, probabilities)
    files = dict(dicom_results(found, radiographs))
    assert list(files) == ["report.dcm", "heat-map-1.dcm", "heat-map-2.dcm"]
    (tmp_path / "report.dcm").write_bytes(written(files["report.dcm"]))
    report = highdicom.sr.srread(tmp_path / "report.dcm")
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    groups = report.content.get_image_measurement_groups()
    for group, number in zip(groups, range(1, len(class_names)), strict=True):
        (measurement,) = group.get_measurements()
        assert measurement.name.meaning == "Probability"
        assert measurement.value == pytest.approx(probabilities[number], abs=1e-6)
        assert group.finding_type.meaning.lower() == class_names[number]
        (evaluation,) = group.get_qualitative_evaluations()
        assert evaluation.name.meaning == "Predicted class"
        assert evaluation.value.meaning.lower() == found.predicted_class
        assert [each.referenced_sop_instance_uid for each in group.source_images] == [
            "1.2.3.4.1",
            "1.2.3.4.2",
        ]
    texts = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
    assert {"mura-rl-ensemble", "weighting agent: uniform"} <= set(texts)
    assert any("not for diagnosis" in text for text in texts)


def test_patient_and_study_are_carried_over_and_the_rest_is_new(radiographs):
    files = dict(dicom_results(prediction(2), radiographs))
    for name, dataset in files.items():
        again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(written(dataset)))
        assert (again.PatientName, again.PatientID, again.PatientSex) == ("Doe^Jane", "p7", "F")
        assert (again.StudyInstanceUID, again.StudyDate, again.AccessionNumber) == ("1.2.3", "20250102", "a9")
        assert again.SeriesInstanceUID != "1.2.3.4"
        if name != "report.dcm":
            pixels = again.pixel_array
            assert (pixels.ndim, pixels.shape[2], again.PhotometricInterpretation) == (3, 3, "RGB")
            assert pixels[:28].max() > 200  # the notice is in the picture
            assert again.Laterality == "L"
            assert again.SourceImageSequence[0].ReferencedSOPInstanceUID.startswith("1.2.3.4.")
    identities = [dataset.SOPInstanceUID for dataset in files.values()]
    assert len(set(identities)) == 3
    assert len({files[f"heat-map-{number}.dcm"].SeriesInstanceUID for number in (1, 2)}) == 1


@pytest.mark.skipif(VALIDATOR is None, reason="dciodvfy is not installed (dicom3tools)")
def test_a_validator_finds_no_fault(radiographs, tmp_path):
    for name, dataset in dicom_results(prediction(2), radiographs):
        (tmp_path / name).write_bytes(written(dataset))
        done = subprocess.run([VALIDATOR, tmp_path / name], capture_output=True, text=True, check=False)
        assert "Error" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_what_cannot_be_referred_to_is_refused(radiographs, tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="got view 2, which is another kind of file"):
        list(dicom_results(prediction(2), [radiographs[0], tmp_path / "a.png"]))
    bare = write_dicom(tmp_path / "bare.dcm", np.zeros((8, 8), np.uint8))
    with pytest.raises(ValueError, match="got view 1 without StudyInstanceUID"):
        list(dicom_results(prediction(1), [bare]))
    odd = write_dicom(
        tmp_path / "odd.dcm",
        np.zeros((8, 8), np.uint8),
        StudyInstanceUID="9.9",
        SeriesInstanceUID="9.8",
        PatientSex="X",
    )
    with pytest.raises(ValueError, match="one that does not conform"):
        list(dicom_results(prediction(1), [odd]))
    other = write_dicom(
        tmp_path / "other.dcm", np.zeros((8, 8), np.uint8), StudyInstanceUID="9.9", SeriesInstanceUID="9.8"
    )
    with pytest.raises(ValueError, match="of one DICOM study, got several"):
        list(dicom_results(prediction(2), [radiographs[0], other]))
