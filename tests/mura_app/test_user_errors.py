"""Bad input of many kinds on every command: each ends as one line with status 2, and writes nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mura_app.main import COMMANDS, run_command
from tests.base_models.trees import write_fracatlas, write_mura
from tests.mura_app.damages import ANY_FILE, HUGE, JSON_FILE, table_without

pytestmark = pytest.mark.usefixtures("undrawn")

TRAINING = ["--members", "attention_cnn:2:16:1", "--ensemble.folds", "2", "--ensemble.jobs", "1"]
LEARNING = ["--agents", "static", "--agent-seeds", "1"]


@pytest.fixture(scope="module")
def world(tables, tmp_path_factory):
    """A folder with radiographs, two tables, a run of the whole pipeline and one of the benchmark alone."""
    folder = tmp_path_factory.mktemp("world")
    write_mura(folder / "data" / "MURA-v1.1", {"train": 8, "valid": 4})
    for name, table in zip(("train", "test"), tables, strict=True):
        table.save(folder / f"{name}.npz")
    tables[0].to_csv(folder / "train.csv")
    pipeline = ["run", "--data", str(folder / "data"), "--out", str(folder / "run"), *TRAINING, *LEARNING]
    assert run_command([*pipeline, "--cross-validation-seeds", "0"]) == 0
    files = ["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz")]
    benchmark = ["benchmark", *files, "--out", str(folder / "benchmark"), "--jobs", "1", *LEARNING]
    assert run_command([*benchmark, "--cross-validation-seeds", "0"]) == 0
    (folder / "a_file").write_text("x")
    (folder / "an_empty_folder").mkdir()
    return folder


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must end with status 2 and one line, and return that line."""
    capsys.readouterr()
    assert run_command([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("mura: error: ")]
    assert len(lines) == 1, captured.err
    assert captured.err.splitlines()[-1] == lines[0]
    assert "Traceback" not in captured.err
    return lines[0].removeprefix("mura: error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fit-agent uniform --predictions {w} --out {out}", "got the folder {w}"),
        ("fit-agent uniform --predictions /dev/null --out {out}", "got the device /dev/null"),
        ("fit-agent uniform --predictions {w}/absent.csv --out {out}", "got no file {w}/absent.csv"),
        ("fit-agent uniform --predictions {w}/train.npz --out {w}/a_file", "{w}/a_file already exists"),
        ("fit-agent uniform --predictions {w}/train.npz --out {w}/a_file/x", "Not a directory"),
        (
            "fit-agent uniform --predictions {w}/train.npz --out {out} --tensorboard-dir {w}/a_file",
            "Not a directory",
        ),
        (
            "fit-agent uniform --predictions {w}/train.npz --out {out} --seed -1",
            "seed in the range [0, 1000000000], got -1",
        ),
        (
            "fit-agent uniform --predictions {w}/train.npz --out {out} --nope 1",
            "Unrecognized options: --nope",
        ),
        ("fit-agent ppo --predictions {w}/train.npz --out {out} --reward nope", "one of the rewards corr"),
        (
            "fit-agent ppo --predictions {w}/train.npz --out {out} --learning-rate nan",
            "learning_rate in the range (0, 10], got nan",
        ),
        (
            "fit-agent ppo --predictions {w}/train.npz --out {out} --total-steps {digits}",
            "total_steps in the range [1, 1000000000], got ",
        ),
        (
            "fit-agent ppo --predictions {w}/train.npz --out {out} --device cuda:77",
            "a device of this machine",
        ),
        ("fit-agent ppo --predictions {w}/train.npz --out {out} --algorithm-options {{", "a JSON object"),
        (
            'fit-agent ppo --predictions {w}/train.npz --out {out} --algorithm-options {{"x":1}}',
            "argument 'x'",
        ),
        (
            "fit-agent trpo --predictions {w}/train.npz --out {out} --total-steps 2000 "
            "--learning-rate 10 --exploration 1e-30",
            "the policy has diverged",
        ),
        (
            "fit-agent rlensemble_v1 --predictions {w}/train.npz --out {out} --total-steps 2000 "
            "--learning-rate 10 --weight-decay 10",
            "the policy has diverged",
        ),
        (
            "fit-agent stable_baselines3 --predictions {w}/train.npz --out {out} --algorithm os.path",
            "an algorithm of stable-baselines3",
        ),
        (
            "fit-agent knora_u --predictions {w}/train.npz --out {out} --n-neighbours 0",
            "n_neighbours in the range [1, 1000000000], got 0",
        ),
        ("benchmark --train {w}/train.npz --test {w}/train.npz --out {out}", "no patient in both tables"),
        ("benchmark --train {w}/train.npz --test {w}/test.npz --out {out} --agents nope", "got 'nope'"),
        (
            "benchmark --train {w}/train.npz --test {w}/test.npz --out {out} --agent-seeds 0",
            "agent_seeds in the range [1, 1000], got 0",
        ),
        ("benchmark --train {w}/train.npz --test {w}/test.npz --out {w}/benchmark", "already holds a run"),
        ("benchmark --train {w}/train.npz --test {w}/test.npz --out {w}/a_file", "got the file {w}/a_file"),
        (
            "benchmark --train {w}/train.npz --test {w}/test.npz --out {out} --test-images {w}/train.npz",
            "the 300 radiographs of the 300 studies",
        ),
        ("run --data {w}/data --out {out} --agents nope", "got 'nope'"),
        ("run --data {w}/data --out {out} --repeats 99999999999999999999", "range [1, 1000], got 999999"),
        (
            "run --data {w}/data --out {out} --agents static static",
            "each agent once in --agents, got 'static'",
        ),
        ("run --data {w}/data --out {out} --repeats 0", "repeats in the range [1, 1000], got 0"),
        ("run --data {w}/data --out {out} --seed -1", "seed in the range [0, 1000000000], got -1"),
        (
            "run --data {w}/data --out {out} --agents ppo --agent ppo.total_steps=x",
            "'ppo' to be int, got 'x'",
        ),
        ("run --data {w}/data --out {out} --agents ppo --agent nope.x=1", "got some of 'nope'"),
        (
            "run --data {w}/data --out {out} --config {w}/a_file",
            "got {w}/a_file, which is damaged or no JSON",
        ),
        ("train --data {w}/data --out {out} --config {w}/absent.json", "got no file {w}/absent.json"),
        ("benchmark --train {w}/train.npz --test {w}/test.npz --out {out} --agent ppo", "NAME.OPTION=VALUE"),
        ("train --data {w}/an_empty_folder --out {out}", "none of these — FracAtlas"),
        ("train --data {w}/data --out {out} --members nope", "expected a network among"),
        ("train --data {w}/data --out {out} --members attention_cnn:1:99999", "image_size in the range [16,"),
        ("train --data {w}/data --out {out} --members alexnet:1:32", "'alexnet' takes, got 32"),
        ("train --data {w}/data --out {out} --preset fats", "'fats'"),
        ("train --data {w}/data --out {out} --ensemble.folds 1000", "the number of patients"),
        (
            "train --data {w}/data --out {out} --preset demo --init-weights {w}/a_file",
            "a state dict of tensors in {w}/a_file",
        ),
        (
            "train --data {w}/data --out {out} --preset demo --init-weights {w}/train.npz",
            "in {w}/train.npz, got a damaged",
        ),
        ("train --data {w}/data --out {out} --overwrite --resume", "--overwrite or --resume, got both"),
        ("evaluate --run {w}/benchmark --out {out}", "--data or --predictions, got neither"),
        ("evaluate --run {w}/benchmark --out {out} --data {w}/data", "there is no {w}/benchmark/members"),
        ("evaluate --run {w}/benchmark --out {out} --predictions {w}/train.npz", "studies from elsewhere"),
        ("split {w}/train.npz --test-share 1 --out {out}", "range (0, 1)"),
        ("split {w}/a_file --out {out}", "expected a predictions table"),
        ("tune nope --predictions {w}/train.npz --out {out}", "got 'nope'"),
        ("tune reinforce --predictions {w}/train.npz --out {out} --trials 0", "range [1, 100000]"),
        ("tune reinforce --predictions {w}/train.npz --out {out} --search nope=1..2", "'nope'"),
        (
            "evaluate --run {w}/benchmark --out {out} --predictions {w}/run/predictions/test.npz",
            "expected tables of the same ensemble",
        ),
        (
            "evaluate --run {w}/benchmark --out {out} --predictions {w}/test.npz --map-body-part x",
            "THEIRS=OURS",
        ),
        ("evaluate --run {w}/a_file --out {out} --predictions {w}/test.npz", "expected a run directory"),
        ("predict --run {w}/absent x.png", "a run or a packed folder, got {w}/absent"),
        ("predict --run {w}/benchmark x.png", "a run with trained members"),
        ("predict --run {w}/run x.png", "x.png: No such file or directory"),
        ("predict --run {w}/run x.png --agent nope", "an agent of the run ("),
        ("predict --run {w}/a_file x.png", "an archive that `mura pack` made, got {w}/a_file"),
        ("export --run {w}/run --out {out}", "--out FILE.onnx"),
        ("export --run {w}/benchmark --out {out}.onnx", "a run with trained members to export"),
        ("pack {w}/benchmark --out {out}", "trained members to pack"),
        ("pack {w}/run --out {w}/a_file", "{w}/a_file already exists"),
        ("serve --run {w}/absent --port 0", "a run or a packed folder, got {w}/absent"),
        ("serve --run {w}/benchmark --port 0", "a run with trained members"),
        ("serve --run {w}/run --host 192.0.2.1", "an address to listen at, got 192.0.2.1"),
        ("predict --run {w}/run x.png --dicom {w}/a_file", "{w}/a_file already exists"),
        ("predict --run {w}/run --data x --dicom {out}", "--dicom beside the images of one study"),
        ("report --run {w}/a_file", "expected a run directory"),
        ("report --run {w}/an_empty_folder", "expected a run directory"),
        ("check-data {w}/a_file", "is not a folder"),
        ("check-data {w}/data --html {w}", "got the folder {w}"),
        ("import-checkpoint {w}/a_file --out {out}", "a state dict of tensors"),
        (
            "import-checkpoint {w}/run/members/1-attention_cnn/fold0.safetensors --out {out}",
            "a published MURA-RLEnsemble checkpoint",
        ),
        ("import-predictions {w}/a_file --out {out}.npz", "the one column 'x'"),
        ("import-predictions {w}/train.csv --out {out}.txt", "to end in .npz"),
        ("synthesize --out {w}", "an empty or absent folder"),
        ("synthesize --out {w}/a_file/x", "{w}/a_file"),
        ("synthesize --out {out} --patients 1", "patients in the range [2, 1000000], got 1"),
        ("demo --out /", "a path with a name that a folder can get, got /"),
        ("demo --out {out} --agent-seeds 0", "agent_seeds in the range [1, 1000], got 0"),
        ("demo --out {out} --patients 1", "patients in the range [2, 1000000], got 1"),
        ("list agnts", "invalid choice 'agnts'"),
    ],
)
def test_bad_options_are_one_line_and_status_2(world, tmp_path, capsys, arguments, words):
    fields = {"w": world, "out": tmp_path / "out", "digits": "9" * 40}
    line = _refused(capsys, *(word.format(**fields) for word in arguments.split()))
    assert words.format(**fields) in line
    assert list(tmp_path.iterdir()) == []


def test_every_command_has_bad_input_here():
    source = Path(__file__).read_text()
    assert all(f'"{name} ' in source for name in COMMANDS)


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        *((".npz", name) for name in ANY_FILE),
        *((".csv", name) for name in ANY_FILE),
        (".npz", table_without("labels.npy", b"junk")),
        (".npz", table_without("logits.npy", HUGE)),
        (".npz", lambda path: np.savez(path, a=np.array([{}], dtype=object))),
        (".csv", lambda path: path.write_text('"' + "x" * 200_000)),
        (".csv", lambda path: path.write_text("a,b\n1,2\n")),
        (".csv", lambda path: path.write_text(path.read_text().replace("train-3,", ",", 1))),
        (".csv", lambda path: path.write_text(path.read_text().rstrip() + ",7\n")),
        (".csv", lambda path: path.write_bytes(path.read_text().encode("utf-16"))),
        (".csv", lambda path: path.write_bytes(b"study_id\0,model\n\0\n")),
    ],
)
def test_damaged_tables_are_named(world, tmp_path, capsys, suffix, damage):
    table = tmp_path / f"table{suffix}"
    shutil.copy(world / f"train{suffix}", table)
    (ANY_FILE[damage] if isinstance(damage, str) else damage)(table)
    line = _refused(capsys, "fit-agent", "uniform", "--predictions", table, "--out", tmp_path / "out")
    assert str(table) in line
    assert not (tmp_path / "out").exists()


SCORE = "evaluate --run {run} --predictions {w}/test.npz --out {out}"
PREDICT = "evaluate --run {run} --data {w}/other --out {out}"
FILES = (
    ("report --run {run}", "benchmark/config.json", [*ANY_FILE, "list", "NaN", "nested", "latin-1", "null"]),
    ("report --run {run}", "benchmark/benchmark.json", [*ANY_FILE, *JSON_FILE]),
    (SCORE, "benchmark/agents/static-seed0/agent.json", [*ANY_FILE, *JSON_FILE]),
    (SCORE, "benchmark/agents/static-seed0/agent.safetensors", ANY_FILE),
    (PREDICT, "run/members/members.json", [*ANY_FILE, *JSON_FILE]),
    (PREDICT, "run/members/1-attention_cnn/member.json", [*ANY_FILE, *JSON_FILE]),
    (PREDICT, "run/members/1-attention_cnn/fold1.safetensors", ANY_FILE),
    (PREDICT, "run/predictions/train.npz", ANY_FILE),
)


@pytest.mark.parametrize(
    ("command", "file", "damage"),
    [(command, file, damage) for command, file, damages in FILES for damage in damages],
)
def test_damaged_files_of_a_run_are_named(world, tmp_path, capsys, *, command, file, damage):
    if not (world / "other").exists():
        write_fracatlas(world / "other")
    run = tmp_path / file.split("/")[0]
    shutil.copytree(world / run.name, run, ignore=shutil.ignore_patterns("image_cache"))
    (ANY_FILE | JSON_FILE)[damage](tmp_path / file)
    fields = {"run": run, "w": world, "out": tmp_path / "out"}
    assert str(run) in _refused(capsys, *(word.format(**fields) for word in command.split()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format_version",), 99),
        (("seed",), -1),
        (("ensemble",), 3),
        (("ensemble", "folds"), "x"),
        (("ensemble", "members"), []),
        (("ensemble", "members", 0, "network"), "nope"),
        (("ensemble", "members", 0, "options"), {"x": 1}),
        (("ensemble", "members", 0, "training"), 4),
        (("ensemble", "training", "learning_rate"), "fast"),
    ],
)
@pytest.mark.parametrize("command", ["train", "run"])
def test_wrong_settings_of_a_file_are_refused(world, tmp_path, capsys, *, command, place, value):
    settings = json.loads((world / "run" / "config.json").read_text())
    inner = settings
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    (tmp_path / "config.json").write_text(json.dumps(settings))
    out = tmp_path / "out"
    _refused(capsys, command, "--data", world / "data", "--out", out, "--config", tmp_path / "config.json")
    assert not out.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0junk",
        b"II*\0\x08\0\0\0\xff\xff" + b"\x01" * 400,
        b"\0" * 128 + b"DICM" + b"\x01" * 300,
        b"GIF89a" + b"\xff" * 50,
        b"BM" + b"\0" * 60,
        b"<svg/>",
    ],
)
def test_unreadable_radiographs_are_named(world, tmp_path, capsys, content):
    shutil.copytree(world / "data", tmp_path / "data")
    image = min((tmp_path / "data").rglob("*.png"))
    image.write_bytes(content)
    line = _refused(capsys, "train", "--data", tmp_path / "data", "--out", tmp_path / "out", *TRAINING)
    assert str(image) in line
    assert "--skip-bad-images" in line


@pytest.mark.parametrize("damage", ["empty", "half", "garbage"])
@pytest.mark.parametrize("file", ["train_image_paths.csv", "valid_labeled_studies.csv"])
def test_damaged_indices_of_mura_are_named(world, tmp_path, capsys, file, damage):
    shutil.copytree(world / "data", tmp_path / "data")
    ANY_FILE[damage](tmp_path / "data" / "MURA-v1.1" / file)
    line = _refused(capsys, "train", "--data", tmp_path / "data", "--out", tmp_path / "out", *TRAINING)
    assert file.split("_")[0] in line
