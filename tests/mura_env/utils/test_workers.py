"""Tests of workers that end with the process that started them, and of those that are replaced."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import os, sys, time
from joblib.externals.loky import ProcessPoolExecutor
from mura_env.utils.workers import end_with_parent

def work(file):
    with open(file, "w") as stream:
        stream.write(str(os.getpid()))
    time.sleep(600)

with ProcessPoolExecutor(1, initializer=end_with_parent) as pool:
    pool.submit(work, sys.argv[1]).result()
"""

GROWING = """
import contextlib, sys, time
from joblib.externals.loky import ProcessPoolExecutor
from mura_env.utils.workers import replaced_workers_unmentioned

def work(megabytes):
    sys.held = b"x" * (megabytes * 2**20)  # the function itself is sent anew with each call
    time.sleep(1.2)  # joblib looks at the memory every second
    return megabytes

quiet = replaced_workers_unmentioned() if sys.argv[1] == "quiet" else contextlib.nullcontext()
with quiet, ProcessPoolExecutor(1) as pool:
    print([call.result() for call in [pool.submit(work, megabytes) for megabytes in (1, 400, 2, 3)]])
"""


def _wait(condition) -> bool:
    for _ in range(300):
        if condition():
            return True
        time.sleep(0.1)
    return False


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(file)])
    try:
        assert _wait(lambda: file.is_file() and file.read_text())
        worker = int(file.read_text())
        time.sleep(1.5)
        assert _is_alive(worker)  # as long as the parent lives
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    try:
        assert _wait(lambda: not _is_alive(worker))
    finally:
        if _is_alive(worker):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize("how", ["quiet", pytest.param("aloud", marks=pytest.mark.slow)])
def test_a_worker_that_grows_is_replaced_without_a_word(how: str) -> None:
    pytest.importorskip("psutil", reason="joblib looks at the memory of its workers through psutil")
    run = subprocess.run(
        [sys.executable, "-c", GROWING, how], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout.strip() == "[1, 400, 2, 3]"
    assert ("A worker stopped" in run.stderr) == (how == "aloud")
