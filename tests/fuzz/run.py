"""Reads generated hostile inputs with everything that reads any: `python -m tests.fuzz.run`, see `make fuzz`.

Fails on a traceback that is no user's error, an end of the process, a hang, executed code, and a file lost or
changed outside the folder that is written. `--only KIND:NUMBER` repeats one input, with its traceback.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from safetensors.torch import save_file

from agents import load_agent
from base_models import load_members
from base_models.checkpoint_import import read_checkpoint
from base_models.data.image_cache import open_image_cache
from base_models.data.lesion_boxes import boxes_in_squares
from base_models.datasets import open_dataset
from base_models.datasets.study import check_dataset
from base_models.imaging.decoding import SquareFormat
from base_models.imaging.reader import read_grey
from mura_app.artifacts import read_training
from mura_app.commands import train
from mura_app.errors import user_message
from mura_app.main import run_command
from mura_app.predictions_io import load_table
from mura_app.run_directory import RunDirectory
from tests.base_models.imaging.dicoms import write_dicom
from tests.base_models.published import Ensemble
from tests.base_models.trees import picture, save_picture, write_mura
from tests.fuzz import mutations
from tests.mura_app.conftest import make_table

SECONDS = 10
"""What computes longer, or waits six times as long, is a hang."""
MEMORY = 4 * 2**30
"""Bytes that an input may ask for."""
OUT = "out"
"""The folder of a case that may be written to; it holds the input where that lies in a run."""


def _command(line: str) -> Callable[[Path], int]:
    return lambda path: run_command([word.format(path=path) for word in line.split()])


def _configured(path: Path) -> object:
    return train.parse_command(["--config", str(path), "--out", "out/x"]).chosen_ensemble()


def _training(path: Path) -> object:
    return read_training(RunDirectory(path))


def _cache(path: Path) -> object:
    return open_image_cache([Path("templates/image.png").absolute()], SquareFormat(24), path)


def _boxed(path: Path) -> object:
    dataset = open_dataset(path)
    check_dataset(dataset)
    images = [image for study in dataset.studies for image in study.image_paths]
    cache = open_image_cache(images, SquareFormat(24), path / "cache")
    return boxes_in_squares(dataset.boxes, cache).masks(24)


_EVALUATE = "evaluate --run {path} --predictions templates/outside.npz --overwrite"
COMMANDS = (
    "benchmark --train templates/train.npz --test templates/test.npz --agents uniform --agent-seeds 1 "
    "--cross-validation-seeds 0 --jobs 1 --out out/x",
    "train --data templates/absent --seed 1 --ensemble.folds 2 --ensemble.jobs 1 --out out/x "
    "--members attention_cnn:1:16:1 --ensemble.training.learning-rate 0.1",
    "run --data templates/empty --repeats 2 --agent-seeds 2 --config templates/run/config.json --out out/x",
    "fit-agent static --predictions templates/train.npz --seed 3 --out out/x",
    "import-predictions templates/train.csv --positive abnormal --out out/x.npz",
    "synthesize --patients 2 --seed 1 --out out/x",
    "demo --patients 1 --agent-seeds 1 --out out/x",
    "check-data templates/studies --seed 0 --html out/x.html",
    "evaluate --run templates/run --predictions templates/outside.npz --out out/x --positive abnormal",
    "import-checkpoint templates/checkpoint.pth --out out/x",
)

KINDS: dict[str, tuple[int, str, str, Callable[..., bytes], Callable[[Path], object]]] = {
    "table.npz": (140, "train.npz", "", mutations.mutate_npz, load_table),
    "table.csv": (100, "train.csv", "", mutations.mutate_csv, load_table),
    "features.csv": (40, "features.csv", "", mutations.mutate_csv, load_table),
    "studies.csv": (90, "studies", "studies.csv", mutations.mutate_csv, open_dataset),
    "boxes.csv": (40, "studies", "boxes.csv", mutations.mutate_csv, _boxed),
    "config.json": (60, "trained/config.json", "", mutations.mutate_json, _configured),
    "report": (30, "run", "[bc]*.json", mutations.mutate_json, _command("report --run {path}")),
    "members": (60, "trained", "members/**/*.json", mutations.mutate_json, load_members),
    "training.json": (40, "trained", "training.json", mutations.mutate_json, _training),
    "weights": (50, "trained", "members/**/*.safetensors", mutations.mutate_safetensors, load_members),
    "agent.json": (60, "run/agents/static-seed0", "*.json", mutations.mutate_json, load_agent),
    "agent": (50, "run/agents/static-seed0", "*.safetensors", mutations.mutate_safetensors, load_agent),
    "evaluation": (10, "run", "evaluations/*/config.json", mutations.mutate_json, _command(_EVALUATE)),
    "cache": (20, "cache", "*/*", mutations.mutate_bytes, _cache),
    "image.png": (30, "image.png", "", mutations.mutate_bytes, read_grey),
    "image.jpg": (30, "image.jpg", "", mutations.mutate_bytes, read_grey),
    "image.tif": (30, "image.tif", "", mutations.mutate_bytes, read_grey),
    "image.dcm": (30, "image.dcm", "", mutations.mutate_bytes, read_grey),
    "checkpoint.pth": (20, "checkpoint.pth", "", mutations.mutate_bytes, read_checkpoint),
    "checkpoint": (20, "checkpoint.safetensors", "", mutations.mutate_safetensors, read_checkpoint),
    "command line": (50, "", "", mutations.mutate_bytes, Path.exists),
}
"""By kind: inputs of a thousand; what of the templates is copied; which of its files are mutated (itself, if
not said); how; and who reads the copy: a command's status 0, or any other value, means accepted."""


def make_templates(folder: Path) -> None:
    """Write a valid input of every kind."""
    make_table(40, 0, "train", n_parts=2).save(folder / "train.npz")
    make_table(40, 1, "test", n_parts=2).save(folder / "test.npz")
    make_table(40, 2, "outside", n_parts=2).save(folder / "outside.npz")
    table = make_table(12, 0, "train", n_parts=2)
    table.to_csv(folder / "train.csv")
    described = {"features": np.linspace(-1, 1, 24).reshape(12, 2), "feature_names": ("age", "dose")}
    replace(table, **described).to_csv(folder / "features.csv")
    write_mura(folder / "MURA-v1.1", {"train": 8, "valid": 4})
    for line in (
        "benchmark --train {0}/train.npz --test {0}/test.npz --agents static --agent-seeds 1 --out {0}/run",
        "evaluate --run {0}/run --predictions {0}/outside.npz",
        "train --data {0}/MURA-v1.1 --ensemble.folds 2 --members attention_cnn:1:16:1 --ensemble.jobs 1 "
        "--out {0}/trained",
    ):
        assert run_command([word.format(folder) for word in line.split()]) == 0, line
    image = picture(3, shape=(48, 40))
    for suffix in ("png", "jpg", "tif"):
        save_picture(folder / f"image.{suffix}", image)
    write_dicom(folder / "image.dcm", image)
    open_image_cache([folder / "image.png"], SquareFormat(24), folder / "cache")
    lines = ["path,study_id,patient_id,body_part,label,split"]
    for number in range(8):
        save_picture(folder / "studies" / f"{number}.png", picture(number))
        lines.append(f"{number}.png,s{number},p{number},HAND,{number % 2},{('train', 'test')[number // 4]}")
    (folder / "studies" / "studies.csv").write_text("\n".join(lines))
    boxes = ["path,x_min,y_min,x_max,y_max", *(f"{number}.png,2,3,20,24.5" for number in (1, 3, 3, 7))]
    (folder / "studies" / "boxes.csv").write_text("\n".join(boxes))
    (folder / "empty").mkdir()
    torch.save(Ensemble().state_dict(), folder / "checkpoint.pth")
    tensors = {name: tensor.clone() for name, tensor in Ensemble().state_dict().items()}
    save_file(tensors, folder / "checkpoint.safetensors")


def run_case(kind: str, number: int, seed: int, case: Path) -> str:
    """Read one input in a folder of its own and return what came of it: accepted, refused, or what failed."""
    random = np.random.default_rng([seed, [*KINDS].index(kind), number])
    _, template, pattern, mutate, read = KINDS[kind]
    (case / "outside").mkdir(parents=True)
    (case / "outside" / "victim.txt").write_text("mine")
    (case / "templates").symlink_to(case.parent.parent / "templates")
    (case / OUT).mkdir()
    os.chdir(case)
    origin, copy = case / "templates" / template, case / OUT / Path(template).name
    if template:
        shutil.copytree(origin, copy) if origin.is_dir() else shutil.copy(origin, copy)
    if template and number:  # the first is the valid input itself
        files = sorted(copy.glob(pattern)) if pattern else [copy]
        file = files[int(random.integers(len(files)))]
        file.write_bytes(mutate(random, file.read_bytes()))
    words: list[str] = []
    if not template:
        words = mutations.mutate_words(random, COMMANDS[number % len(COMMANDS)].split())
    before, said = {*_state(case)}, io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            status = read(copy) if template else run_command(words)
        outcome = {0: "accepted", 2: "refused"}[status] if isinstance(status, int) else "accepted"
    except SystemExit as stop:  # after `--help`
        outcome = f"status {stop.code}" if stop.code else "accepted"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "site-packages" not in f.filename), frames[-1])
        what = f"{type(error).__name__}: {str(error)[:100]!r} at {Path(place.filename).name}:{place.lineno}"
        outcome = "refused" if number and user_message(error) is not None else what
        if "--only" in sys.argv:
            traceback.print_exc()
    if template and not number and outcome != "accepted":
        return f"the valid input was {outcome}: {said.getvalue()}"
    if Path(mutations.CANARY).exists() or (case / OUT / mutations.CANARY).exists():
        return "executed code"
    asked = {str(case / word) for word in words if "\0" not in word}  # new files that the words name
    if changed := {at for at in {*_state(case)} ^ before if at in before or at[0] not in asked}:
        return f"changed outside its folder: {sorted(changed)[0]}"
    return outcome


def _state(case: Path) -> Iterator[tuple[str, int, int]]:
    """List what must not change: all of the case but its folder `out`, and the templates' upper level."""
    for folder in (case, case / "outside", case.parent, case / "templates", case / "templates" / "run"):
        for path in folder.iterdir():
            if path.name != ".lock" and not path.is_dir():
                yield str(path), path.lstat().st_size, path.lstat().st_mtime_ns


def _work(connection: Connection, seed: int, folder: Path) -> None:
    """Read the inputs that come through a connection."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    warnings.simplefilter("ignore")
    while (task := connection.recv()) is not None:
        case = Path(tempfile.mkdtemp(dir=folder))
        outcome = run_case(*task, seed, case)
        os.chdir(folder)
        shutil.rmtree(case)
        connection.send(outcome)


def run_all(
    tasks: list[tuple[str, int]], seed: int, n_workers: int, folder: Path
) -> dict[tuple[str, int], str]:
    """Read all inputs in worker processes; one that hangs or ends is replaced."""
    context, found = multiprocessing.get_context("fork"), dict[tuple[str, int], str]()
    waiting = list(reversed(tasks))
    running: dict[Connection, tuple[Any, tuple[str, int], tuple[float, float]]] = {}

    def start(connection: Connection, process: Any) -> None:
        task = waiting.pop() if waiting else None
        connection.send(task)
        if task is not None:
            clocks = time.monotonic(), sum(psutil.Process(process.pid).cpu_times()[:2])
            running[connection] = process, task, clocks

    def add_worker() -> None:
        ours, theirs = context.Pipe()
        own = Path(tempfile.mkdtemp(dir=folder))
        process = context.Process(target=_work, args=(theirs, seed, own), daemon=True)
        process.start()
        theirs.close()
        start(ours, process)

    for _ in range(n_workers):
        add_worker()
    while running:
        for connection in wait([*running], timeout=0.2):
            process, task, _ = running.pop(connection)  # type: ignore[index]
            try:
                found[task] = connection.recv()  # type: ignore[union-attr]
                start(connection, process)  # type: ignore[arg-type]
            except (EOFError, OSError):
                process.join()
                found[task] = f"its process ended with {process.exitcode}"
                add_worker()
        for connection, (process, task, began) in [*running.items()]:
            computed = sum(psutil.Process(process.pid).cpu_times()[:2]) - began[1]
            if computed > SECONDS or time.monotonic() - began[0] > 6 * SECONDS:
                found[task] = f"hang over {SECONDS} s"
                del running[connection]
                process.kill()
                add_worker()
    return found


def main() -> int:
    """Run the fuzzer and print, per kind, what came of its inputs; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="KIND:NUMBER of one input to repeat")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)  # a forked process would wait for threads that it does not have
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    tasks = [(kind, n) for kind, (share, *_) in KINDS.items() for n in range(share * options.inputs // 1000)]
    if options.only:
        kind, _, number = options.only.rpartition(":")
        tasks = [(kind, int(number))]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        (folder / "templates").mkdir()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            make_templates(folder / "templates")
        found = run_all(tasks, options.seed, options.workers, folder)
    failures = {task: outcome for task, outcome in found.items() if outcome not in {"accepted", "refused"}}
    for kind in KINDS:
        counts = Counter(outcome for (of, _), outcome in found.items() if of == kind)
        failed = sum(n for outcome, n in counts.items() if outcome not in {"accepted", "refused"})
        print(f"{kind:24} {counts['accepted']:5} accepted {counts['refused']:5} refused {failed:5} failed")
    for (kind, number), outcome in sorted(failures.items()):
        print(f"FAILED {kind}:{number} {outcome}")
    print(f"{len(found):,} inputs with seed {options.seed}, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
