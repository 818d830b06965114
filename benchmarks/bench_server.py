"""Load on `mura serve`: clients that ask one after another on loopback; latency, errors and memory.

Starts the command as a process of its own, on a free port, and stops it at the end. Every client sends the
same studies again and again, a whole form each time; the first seconds warm up and are not counted. Memory is
what the process holds after a third of the time and at the end (Linux: `VmRSS`).

    python benchmarks/bench_server.py                                                 # of a small run
    python benchmarks/bench_server.py --run runs/first --data MURA-v1.1 --seconds 30  # of another one
"""

import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from document import Document, document_parser, machine, print_document

from base_models.datasets.registry import open_unlabelled

WARM_UP = 3.0
"""Seconds that are not counted."""


def resident_megabytes(pid: int | str) -> float:
    """Return the memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None  # noqa: S101 - Linux has it
    return int(found[1]) / 1024


def forms(data: Path, n_studies: int) -> list[tuple[list[tuple[str, tuple[str, bytes]]], str]]:
    """Return the files and the body part of some studies, of those with most views."""
    studies = sorted(open_unlabelled(data).studies, key=lambda study: -len(study.image_paths))[:n_studies]
    return [
        ([("files", ("radiograph", path.read_bytes())) for path in study.image_paths[:3]], study.body_part)
        for study in studies
    ]


def client(address: str, sent: list[Any], until: float, number: int) -> list[tuple[float, float, int]]:
    """Ask until a time; return when each answer came, after how many seconds, and its status."""
    answers: list[tuple[float, float, int]] = []
    with httpx.Client(base_url=address, timeout=120) as session:
        while time.monotonic() < until:
            files, part = sent[(number + len(answers)) % len(sent)]
            start = time.monotonic()
            status = session.post("/predict", files=files, data={"body_part": part}).status_code
            answers.append((time.monotonic(), time.monotonic() - start, status))
    return answers


@contextmanager
def served(run: Path) -> Iterator[tuple[str, int]]:
    """Start the server of a run, and end it; gives its address and process id."""
    command = [sys.executable, "-m", "mura_app", "serve", "--run", str(run), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - our own
        try:
            assert server.stdout is not None  # noqa: S101 - as asked for
            lines = itertools.takewhile(lambda line: line != "}\n", server.stdout)
            yield json.loads("".join(lines) + "}")["address"], server.pid
        finally:
            server.terminate()


def measure(run: Path, data: Path, n_clients: int, seconds: float) -> Document:
    """Let clients ask the server of a run, and return what they and its process found."""
    sent = forms(data, 20)
    with served(run) as (address, pid):
        before = resident_megabytes(pid)
        start = time.monotonic() + WARM_UP
        with ThreadPoolExecutor(n_clients) as pool:
            futures = [
                pool.submit(client, address, sent, start + seconds, number) for number in range(n_clients)
            ]
            time.sleep(WARM_UP + seconds / 3)
            after_a_third = resident_megabytes(pid)
            answers = [answer for future in futures for answer in future.result()]
        at_the_end = resident_megabytes(pid)
    milliseconds = [1000 * taken for came, taken, _ in answers if came >= start]
    return {
        "machine": machine(torch=torch.__version__),
        "clients": n_clients,
        "seconds": seconds,
        "requests": len(milliseconds),
        "other_than_200": sum(status != 200 for *_, status in answers),
        "requests_per_second": len(milliseconds) / seconds,
        "median_ms": float(np.median(milliseconds)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "megabytes": {"before": before, "after_a_third": after_a_third, "at_the_end": at_the_end},
    }


def show(found: Document) -> None:
    """Print what was measured in three lines."""
    memory = found["megabytes"]
    print(
        f"{found['clients']} clients, {found['seconds']:.0f} s: {found['requests']:,} answers "
        f"({found['requests_per_second']:.1f} a second), {found['other_than_200']} refused or failed\n"
        f"median {found['median_ms']:.0f} ms, 99th percentile {found['p99_ms']:.0f} ms\n"
        f"memory: {memory['before']:.0f} MB before, {memory['after_a_third']:.0f} MB after a third of the "
        f"time, {memory['at_the_end']:.0f} MB at the end"
    )


def demo(folder: Path) -> tuple[Path, Path]:
    """Make a small run to measure; returns it and its radiographs."""
    out = folder / "demo"
    command = [sys.executable, "-m", "mura_app", "demo", "--out", str(out), "--patients", "200"]
    subprocess.run([*command, "--agent-seeds", "1"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return out, next((folder / "demo-data").iterdir())


def main() -> None:
    parser = document_parser(__doc__)
    parser.add_argument("--run", type=Path, help="the run; a small one is made without it")
    parser.add_argument("--data", type=Path, help="radiographs to send")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    if (options.run is None) != (options.data is None):
        parser.error("--run and --data belong together")
    with tempfile.TemporaryDirectory() as folder:
        run, data = demo(Path(folder)) if options.run is None else (options.run, options.data)
        print_document(measure(run, data, options.clients, options.seconds), show, options.json)


if __name__ == "__main__":
    main()
