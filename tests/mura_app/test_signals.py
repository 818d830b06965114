"""What asks a command to end ends it and its processes, with the message and status of an interruption."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from agents import load_agent
from mura_app import main
from mura_app.main import run_command
from tests.base_models.trees import write_mura
from tests.mura_app.conftest import make_table

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Hear all signals here and in processes that are started, also where the shell ignores some."""
    earlier = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


def _runs(monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> None:
    monkeypatch.setattr(main, "parse", lambda *_: SimpleNamespace(run=run))


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("name", ["report", "train"])
def test_a_signal_is_an_interruption(
    number: signal.Signals, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers, done = [signal.getsignal(each) for each in ENDING], []

    def run() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(60)
        finally:
            done.append(True)

    monkeypatch.setattr(main, "_parse_subcommand", lambda *_: SimpleNamespace(run=run))
    assert run_command([name]) == 128 + number
    advice = "; what is finished is kept, and the same command with --resume goes on from there"
    assert capsys.readouterr().err == f"mura: error: interrupted{advice if name == 'train' else ''}\n"
    assert done == [True]
    assert [signal.getsignal(each) for each in ENDING] == handlers


@pytest.mark.parametrize("caught", [None, RuntimeError("a worker has ended"), ValueError("a defect")])
def test_what_follows_a_signal_is_the_interruption_too(
    caught: Exception | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        except KeyboardInterrupt:
            if caught is not None:
                raise caught from None

    _runs(monkeypatch, run)
    assert run_command(["report"]) == 143
    assert capsys.readouterr().err == "mura: error: interrupted\n"


def test_what_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        _runs(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert run_command(["report"]) == 0
    finally:
        signal.signal(signal.SIGHUP, earlier)


def _end(
    command: list[str], number: signal.Signals, begun: Callable[[], bool], workers: int
) -> tuple[int, str]:
    """Start a command, end it once it has begun and has its workers; return its status and messages."""
    with subprocess.Popen(
        [sys.executable, "-m", "mura_app", *command],
        env={**os.environ, "LOKY_MAX_CPU_COUNT": "2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        children: list[psutil.Process] = []
        while process.poll() is None and not (begun() and len(children) >= workers):
            time.sleep(0.02)
            children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        _, messages = process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    for child in alive:
        child.kill()
    assert not alive
    return process.returncode, messages


def test_no_process_draws_on_and_no_draft_is_left(tmp_path: Path) -> None:
    command = ["synthesize", "--out", str(tmp_path / "new" / "tree"), "--patients", "20000"]
    status, messages = _end(command, signal.SIGHUP, lambda: any(tmp_path.rglob("*.png")), 2)
    assert (status, messages) == (129, "mura: error: interrupted\n")
    assert [*tmp_path.iterdir()] == []


def test_an_interrupted_agent_is_saved_and_said_to_be_interrupted(tmp_path: Path) -> None:
    make_table(400, 0, "train").save(tmp_path / "train.npz")
    files = ["--predictions", str(tmp_path / "train.npz"), "--out", str(tmp_path / "agent")]
    logs = ["--tensorboard-dir", str(tmp_path / "logs"), "--total-steps", str(10**9)]
    status, messages = _end(
        ["fit-agent", "reinforce", *files, *logs], signal.SIGTERM, lambda: any(tmp_path.glob("logs/*/*")), 0
    )
    assert status == 143
    assert messages.endswith("mura: error: interrupted\n")
    assert load_agent(tmp_path / "agent").total_steps_ < 10**9


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("loaders", ["0", "1"])
def test_no_process_trains_on(tmp_path: Path, number: signal.Signals, jobs: str, loaders: str) -> None:
    data, out = write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4}), tmp_path / "out"
    options = {"folds": "2", "jobs": jobs, "training.batch-size": "4", "training.loader-processes": loaders}
    words = [word for name, value in options.items() for word in (f"--ensemble.{name}", value)]
    command = ["train", "--data", str(data), "--out", str(out), "--members", "attention_cnn:1:32:400", *words]
    status, messages = _end(command, number, lambda: any(out.glob("members/*/*.epoch.safetensors")), 0)
    assert status == 128 + number
    assert "mura: error: interrupted; what is finished is kept" in messages
    assert not (out / ".lock").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_no_process_fits_on(tmp_path: Path, jobs: str) -> None:
    for seed, name in enumerate(("train", "test")):
        make_table(400, seed, name).save(tmp_path / f"{name}.npz")
    tables = ["--train", str(tmp_path / "train.npz"), "--test", str(tmp_path / "test.npz")]
    agents = ["--agents", "reinforce", "--agent", f"reinforce.total_steps={10**9}", "--agent-seeds", "2"]
    logs = ["--agent", f'reinforce.tensorboard_dir="{tmp_path}/logs"', "--jobs", jobs]
    command = ["benchmark", *tables, "--out", str(tmp_path / "out"), *agents, *logs]
    status, messages = _end(command, signal.SIGTERM, lambda: any(tmp_path.glob("logs/*/*")), 0)
    assert status == 143
    assert "mura: error: interrupted; what is finished is kept" in messages


@pytest.mark.slow
@pytest.mark.parametrize("parallelism", ["fits", "ddp"])
def test_no_process_of_torchrun_trains_on(tmp_path: Path, parallelism: str) -> None:
    data, out = write_mura(tmp_path / "MURA-v1.1", {"train": 8, "valid": 4}), tmp_path / "out"
    options = {"folds": "2", "training.batch-size": "4", "parallelism": parallelism}
    words = [word for name, value in options.items() for word in (f"--ensemble.{name}", value)]
    train = ["train", "--data", str(data), "--out", str(out), "--members", "attention_cnn:1:32:400", *words]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "mura_app"]
    with subprocess.Popen(
        [sys.executable, *launcher, *train], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not any(out.glob("members/*/*.epoch.safetensors")):
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, messages = process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
    assert messages.count("mura: error: interrupted; what is finished is kept") == 1
    assert not (out / ".lock").exists()
