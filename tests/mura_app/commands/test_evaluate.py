import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from base_models.datasets import open_dataset
from base_models.storage import load_tensors, save_tensors
from base_models.synthetic import synthesize
from mura_app.external_validation import predict_dataset
from mura_app.main import run_command
from mura_app.run_directory import RunDirectory
from mura_env import Predictions
from tests.base_models.trees import picture, save_picture
from tests.mura_app.conftest import make_table

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def run(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(folder / f"{name}.npz")
    options = ["--agents", "static_per_body_part", "--agent-seeds", "2", "--jobs", "1"]
    files = ["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz")]
    assert run_command(["benchmark", *files, "--out", str(folder / "run"), *options]) == 0
    return folder / "run"


@pytest.fixture
def foreign(tmp_path):
    """Studies from elsewhere: PART0 is called hand there, and foot is unknown."""
    rows = make_table(200, 7, "elsewhere")
    names = np.array(["hand", "PART1", "foot"])[rows.body_parts]
    table = Predictions.from_arrays(
        rows.logits,
        rows.labels,
        names,
        study_ids=rows.study_ids,
        patient_ids=rows.patient_ids,
        model_names=rows.model_names,
        class_names=rows.class_names,
    )
    table.save(tmp_path / "foreign.npz")
    return tmp_path / "foreign.npz"


def test_the_own_test_table_gives_the_benchmark_again(run, tmp_path, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    test = ["--predictions", str(run.parent / "test.npz"), "--out", str(tmp_path / "out"), "--json"]
    assert run_command(["evaluate", "--run", str(run), *test]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "benchmark.json").read_text())
    benchmark = json.loads((run / "benchmark.json").read_text())
    assert printed.pop("title") == "test, external validation of run"
    assert benchmark.pop("title") == "test"
    assert printed.pop("cross_validated") == {"reason": "nothing was fitted for this evaluation"}
    assert set(benchmark.pop("cross_validated")["agents"]) == {"uniform", "static_per_body_part"}
    assert printed == benchmark
    assert (tmp_path / "out" / "report.html").is_file()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_an_evaluation_that_was_killed_in_its_first_write_is_repeated(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".config.json.k1ll3d").write_text("")
    test = ["--predictions", str(run.parent / "test.npz"), "--out", str(out)]
    assert run_command(["evaluate", "--run", str(run), *test]) == 0
    assert run_command(["evaluate", "--run", str(run), *test]) == 2


def test_body_parts_are_mapped_and_unknown_ones_warned_of(run, foreign, capsys):
    options = ["--predictions", str(foreign), "--map-body-part", "hand=PART0"]
    assert run_command(["evaluate", "--run", str(run), *options]) == 0
    captured = capsys.readouterr()
    assert "warning: the body parts foot were not in the training table" in captured.err
    assert "hand" not in captured.err
    written = run / "evaluations" / "foreign"
    document = json.loads((written / "benchmark.json").read_text())
    assert document["protocol"]["body_part_names"] == ["PART0", "PART1", "foot"]
    learned = json.loads((run / "benchmark.json").read_text())["agents"]["static_per_body_part"]
    scored = document["agents"]["static_per_body_part"]
    for part in ("PART0", "PART1"):
        expected = learned["per_body_part"][part]["weights"]["mean"]
        assert scored["per_body_part"][part]["weights"]["mean"] == pytest.approx(expected, abs=1e-6)
    assert len(Predictions.load(written / "predictions" / "test.npz")) == 200

    assert run_command(["evaluate", "--run", str(run), *options]) == 2
    assert "--overwrite" in capsys.readouterr().err
    both = [*options, "--map-body-part", "foot=PART0", "--overwrite"]
    assert run_command(["evaluate", "--run", str(run), *both]) == 0
    assert "warning" not in capsys.readouterr().err
    parts = json.loads((written / "benchmark.json").read_text())["agents"]["uniform"]["per_body_part"]
    assert list(parts) == ["PART0", "PART1"]


def test_only_an_evaluation_is_replaced(run, foreign, tmp_path, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for out in (run, run / "agents", tmp_path / "mine", foreign):
        options = ["--predictions", str(foreign), "--out", str(out), "--overwrite"]
        assert run_command(["evaluate", "--run", str(run), *options]) == 2
        assert "expected an evaluation to replace" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.parametrize(
    "case",
    [
        ([], ["--data or --predictions", "neither"]),
        (["--predictions", "{foreign}", "--data", "{tmp}"], ["both"]),
        (["--data", "{tmp}", "--images", "{foreign}"], ["--images beside --predictions"]),
        (["--predictions", "{foreign}", "--images", "{others}"], ["of the same ensemble"]),
        (["--predictions", "{foreign}", "--map-body-part", "hand"], ["THEIRS=OURS", "'hand'"]),
        (["--predictions", "{foreign}", "--map-body-part", "knee=PART0"], ["outside data", "knee"]),
        (["--predictions", "{foreign}", "--map-body-part", "hand=PARTO"], ["of the run", "PARTO"]),
        (["--predictions", "{others}"], ["model names 'coarse' and 'fine', got 'fine' and 'other'"]),
        (["--predictions", "{train}"], ["of the training table"]),
        (["--data", "{tmp}"], ["members of a finished run"]),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_nothing_is_written(run, foreign, case, tmp_path, capsys):
    options, words = case
    table = Predictions.load(foreign)
    columns = {name: getattr(table, name) for name in ("labels", "study_ids", "patient_ids", "class_names")}
    others = Predictions.from_arrays(table.logits[:, ::-1], model_names=("fine", "other"), **columns)
    others.save(tmp_path / "others.npz")
    places = {
        "foreign": foreign,
        "others": tmp_path / "others.npz",
        "train": run.parent / "train.npz",
        "tmp": tmp_path,
    }
    out = tmp_path / "out"
    filled = [option.format(**places) for option in options]
    assert run_command(["evaluate", "--run", str(run), "--out", str(out), *filled]) == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error
    assert not out.exists()


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two synthetic hospitals, `here` and `there`, and a whole `run` on the first."""
    folder = tmp_path_factory.mktemp("hospitals")
    for name, seed in (("here", 1), ("there", 2)):
        synthesize(folder / name, n_patients=60, seed=seed)
    tiny = [
        "--preset",
        "demo",
        *("--agents", "best_single", "--agent-seeds", "1", "--ensemble.training.batch-size", "16"),
        *(f"--ensemble.members.{member}.{option}" for member in range(3) for option in ("epochs=1",)),
        *(f"--ensemble.members.{member}.image-size=16" for member in range(3)),
    ]
    assert run_command(["run", "--data", str(folder / "here"), "--out", str(folder / "run"), *tiny]) == 0
    return folder


def test_members_read_radiographs_from_elsewhere(hospitals, capsys, monkeypatch):
    """A run is validated on another hospital, and on its own test split."""
    run = hospitals / "run"
    capsys.readouterr()
    asked = []
    monkeypatch.setattr(
        "mura_app.artifacts.study_thumbnails", lambda *wanted: asked.append(wanted) or {"x": "data:,"}
    )
    assert run_command(["evaluate", "--run", str(run), "--data", str(hospitals / "there"), "--json"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    table = Predictions.load(run / "evaluations" / "there" / "predictions" / "test.npz")
    assert document["n_studies"] == len(table)
    assert "patient ids are in the training table too" in captured.err  # MURA's names repeat
    written = run / "evaluations" / "there"
    assert document["images"]["n_images"] == len(Predictions.load(written / "predictions/test-images.npz"))
    assert document["images"]["n_images"] == table.n_views.sum() > len(table)
    assert set(document["controls"]) == {"metadata only", "majority"}
    (outside, drawn), *_ = asked
    assert outside.root.is_relative_to(hospitals / "there")
    changed = document["behaviour"]["agents"]["best_single"]["changed_predictions"]["studies"]
    assert drawn == {study["study_id"] for study in changed}
    parts = document["protocol"]["body_part_names"]
    mapped = predict_dataset(RunDirectory(run), hospitals / "there", {parts[0]: parts[1]}, parts)
    assert parts[0] not in mapped.table.body_part_names
    assert len(mapped.images) == document["images"]["n_images"]

    assert run_command(["evaluate", "--run", str(run), "--data", str(hospitals / "here"), "--json"]) == 0
    captured = capsys.readouterr()
    again, finished = json.loads(captured.out), json.loads((run / "benchmark.json").read_text())
    assert "were left out: the members have learned from" in captured.err
    assert again["n_studies"] == finished["n_studies"]
    for name in ("uniform", "best_single"):
        for rows, of_run in ((again, finished), (again["images"], finished["images"])):
            expected = of_run["agents"][name]["log_loss"]["mean"]
            assert rows["agents"][name]["log_loss"]["mean"] == pytest.approx(expected, abs=1e-3)
    control, of_run = (document["controls"]["metadata only"] for document in (again, finished))
    assert control["log_loss"]["mean"] == pytest.approx(of_run["log_loss"]["mean"], abs=1e-3)

    (hospitals / "here").rename(hospitals / "moved")
    outside = ["--data", str(hospitals / "there"), "--overwrite", "--json"]
    assert run_command(["evaluate", "--run", str(run), *outside]) == 0
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)["controls"]) == {"majority"}
    assert "no metadata-only control: the run's own radiographs are no longer" in captured.err
    (hospitals / "moved").rename(hospitals / "here")


@pytest.mark.parametrize("place", ["here", "here/MURA-v1.1", "link", "linked/inside", "relative", "copy"])
def test_of_the_own_data_the_test_split_is_scored_wherever_it_lies(hospitals, place, tmp_path, monkeypatch):
    run, data = RunDirectory(hospitals / "run"), hospitals / place
    if place.startswith("link"):
        (tmp_path / "link").symlink_to(hospitals / "here")
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "inside").symlink_to(hospitals / "here" / "MURA-v1.1")
        data = tmp_path / place
    if place == "relative":
        monkeypatch.chdir(hospitals / "run")
        data = Path("../here")
    if place == "copy":
        data = shutil.copytree(hospitals / "here" / "MURA-v1.1", tmp_path / "radiographs")
    train, test = (Predictions.load(run.predictions / f"{name}.npz") for name in ("train", "test"))
    outside = predict_dataset(run, data, {}, train.body_part_names)
    assert list(outside.table.study_ids) == list(test.study_ids)
    left_out = f"Of {len(train) + len(test)} studies {len(train)} were left out"
    assert any(remark.startswith(left_out) for remark in outside.remarks)


def test_copies_of_training_radiographs_are_left_out_whatever_they_are_called(hospitals, tmp_path, capsys):
    """Renamed, in other folders, of other patients, in a data set of another kind, one a hard link."""
    here, there = ([*open_dataset(hospitals / name).of_split("train")] for name in ("here", "there"))
    rows = ["path,study_id,patient_id,body_part,label"]
    studies = [(here[0], "known", "p0"), (here[1], "linked", "p1"), (there[0], "his other", "p0")]
    studies += [(study, f"new{i}", f"q{i}") for i, study in enumerate(there[1:30])]
    for number, (study, name, patient) in enumerate(studies):
        for view, path in enumerate(study.image_paths):
            copy = tmp_path / "data" / f"folder{number % 3}" / f"{number}-{view}.png"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.hardlink_to(path) if name == "linked" else shutil.copy(path, copy)
            label = ("normal", "abnormal")[study.label]
            rows.append(f"{copy.relative_to(tmp_path / 'data')},{name},{patient},{study.body_part},{label}")
    (tmp_path / "data" / "studies.csv").write_text("\n".join(rows))
    run = RunDirectory(hospitals / "run")
    known = Predictions.load(run.predictions / "train.npz").body_part_names
    outside = predict_dataset(run, tmp_path / "data", {}, known)
    assert sorted(outside.table.study_ids) == sorted(f"new{i}" for i in range(29))
    assert any(remark.startswith("Of 32 studies 3 were left out") for remark in outside.remarks)

    (tmp_path / "data" / "studies.csv").write_text("\n".join(row for row in rows if ",new" not in row))
    command = ["evaluate", "--run", str(run.path), "--data", str(tmp_path / "data")]
    assert run_command([*command, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "that the members have not learned from, got 0 of one at most beside 3 that they have" in error
    assert not (tmp_path / "out").exists()


def test_members_that_do_not_tell_what_they_have_learned_from_are_remarked_on(hospitals, tmp_path):
    """Such as the published ones, which were imported."""
    shutil.copytree(hospitals / "run" / "members", tmp_path / "members")
    shutil.copy(hospitals / "run" / "config.json", tmp_path)
    for file in tmp_path.rglob("fold*.safetensors"):
        tensors, facts = load_tensors(file)
        save_tensors(tensors, file, {name: facts[name] for name in facts if name != "learned_from"})
    run = RunDirectory(tmp_path)
    known = Predictions.load(hospitals / "run" / "predictions" / "train.npz").body_part_names
    shutil.copy(hospitals / "run" / "training.json", tmp_path)
    outside = predict_dataset(run, hospitals / "there", {}, known)
    assert any(remark.startswith("The members do not tell which") for remark in outside.remarks)


def test_outside_images_that_cannot_be_read_are_named_and_left_out_only_when_told_to(
    hospitals, tmp_path, capsys
):
    """The outside data has one split only, which is enough for what learns nothing from it."""
    outside, rows = tmp_path / "outside", ["path,study_id,patient_id,body_part,label,split"]
    for number in range(12):
        save_picture(outside / f"{number}.png", picture(number, number % 2))
        rows.append(f"{number}.png,s{number // 2 % 5},p{number // 2 % 5},XR_HAND,{number // 2 % 5 % 2},test")
    (outside / "studies.csv").write_text("\n".join(rows))
    whole = (outside / "2.png").read_bytes()
    for name in ("2.png", "4.png", "5.png"):  # a view of one study, and both of another
        (outside / name).write_bytes(whole[:-30])
    command = [
        "evaluate",
        "--run",
        str(hospitals / "run"),
        "--data",
        str(outside),
        "--out",
        str(tmp_path / "e"),
    ]
    assert run_command(command) == 2
    error = capsys.readouterr().err
    assert all(f"{name}: " in error for name in ("2.png", "4.png", "5.png"))
    assert "--skip-bad-images" in error
    assert not (tmp_path / "e").exists()
    assert run_command([*command, "--skip-bad-images"]) == 0
    assert "3 image(s) that cannot be read were left out" in capsys.readouterr().err
    settings = json.loads((tmp_path / "e" / "config.json").read_text())
    assert sorted(settings["skipped_images"]) == [str(outside / name) for name in ("2.png", "4.png", "5.png")]
    table = Predictions.load(tmp_path / "e" / "predictions" / "test.npz")
    assert dict(zip(table.study_ids, table.n_views, strict=True)) == {"s0": 4, "s1": 1, "s3": 2, "s4": 2}

    (outside / "studies.csv").write_text("\n".join(row for row in rows if ",0,test" not in row))
    assert run_command([*command, "--overwrite"]) == 2
    error = capsys.readouterr().err  # before any image is decoded: none of the damaged ones is named
    assert "expected outside studies of at least two classes, got fewer; add" in error
    assert len(error.splitlines()) == 1

    (outside / "studies.csv").write_text("\n".join([*rows, "0.png,s9,p9,XR_HAND,1,test"]))
    assert run_command([*command, "--overwrite"]) == 2
    assert "expected each image once" in capsys.readouterr().err
