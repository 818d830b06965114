"""How fast `mura predict` is: one study, cold and loaded, and many against the members' networks alone.

The many are predicted as `mura predict --data` does. Beside them stand the same networks on radiographs that
are decoded already, without anything else: both in this process, on the same threads, one part of the studies
with each in turn, so that other work on the machine slows both. Memory is what the process holds (Linux:
`VmRSS`) after a tenth, after half and after all of the studies.

    python benchmarks/bench_predict.py                                      # the preset fast, weights drawn
    python benchmarks/bench_predict.py --run runs/mine --data MY_DATA       # of a run
"""

import gc
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from bench_server import resident_megabytes
from document import Document, document_parser, machine, print_document
from untrained import untrained_pack

from base_models.datasets.registry import open_unlabelled
from base_models.datasets.study import Study
from base_models.prediction import view_outputs
from base_models.synthetic import synthesize
from mura_app import Ensemble
from mura_app.inference.rows import RowWriter
from mura_app.inference.sources import decode_views

N_PARTS = 10
N_LOADED = 20
"""Times that the loaded ensemble is asked."""


def of_networks(ensemble: Ensemble, studies: Sequence[Study]) -> tuple[float, float]:
    """Return the wall and CPU seconds of the bare networks on the studies' radiographs, which are decoded."""
    paths = [path for study in studies for path in study.image_paths]
    images = decode_views(ensemble.members, paths, [(path, str(path)) for path in paths]).images
    start, cpu = time.perf_counter(), time.process_time()
    for member in ensemble.members:
        squares, rows = images.of_member(member), np.arange(len(paths))
        for network in member.networks:
            size, tta_flip = member.config.image_size, member.tta_flip
            view_outputs(network, squares, rows, size, member.input_format, tta_flip=tta_flip)
    return time.perf_counter() - start, time.process_time() - cpu


def many(ensemble: Ensemble, studies: Sequence[Study], out: Path) -> Document:
    """Predict parts of the studies, and pass the same parts through the networks alone."""
    starts = np.linspace(0, len(studies), N_PARTS + 1).astype(int)
    predicted, bare, memory = np.zeros(2), np.zeros(2), []
    with RowWriter(ensemble, out, "csv", resume=False) as writer:
        for first, last in itertools.pairwise(starts):
            part = studies[first:last]
            bare += of_networks(ensemble, part)
            gc.collect()
            start, cpu = time.perf_counter(), time.process_time()
            for found in ensemble.predict_studies(part):
                writer.write(found)
            predicted += time.perf_counter() - start, time.process_time() - cpu
            memory.append(resident_megabytes("self"))
    n = len(studies)
    return {
        "studies": n,
        "radiographs": sum(len(study.image_paths) for study in studies),
        "studies_per_second": n / predicted[0],
        "networks_studies_per_second": n / bare[0],
        "share_of_networks_rate": bare[0] / predicted[0],
        "share_of_networks_rate_by_cpu_seconds": bare[1] / predicted[1],
        "megabytes": dict(zip(("tenth", "half", "all"), (memory[0], memory[4], memory[-1]), strict=True)),
    }


def one(run: Path, ensemble: Ensemble, study: Study) -> Document:
    """Predict one study by a new process, and by the loaded ensemble."""
    files = [str(path) for path in study.image_paths]
    command = [sys.executable, "-m", "mura_app", "predict", "--run", str(run), *files, "--json"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own
    cold, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cold_cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    loaded = []
    for _ in range(N_LOADED):
        start, cpu = time.perf_counter(), time.process_time()
        ensemble.predict(files, study.body_part or None)
        loaded.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, cpu = 1000 * np.median(loaded, axis=0)
    return {
        "views": len(files),
        "cold_seconds": cold,
        "cold_cpu_seconds": cold_cpu,
        "loaded_ms": wall,
        "loaded_cpu_ms": cpu,
    }


def measure(run: Path, ensemble: Ensemble, studies: Sequence[Study], n_studies: int) -> Document:
    """Measure a run on the first studies of some data, again and again if there are fewer."""
    known = [study for study in studies if study.body_part in ("", *ensemble.body_part_names)]
    chosen = [known[number % len(known)] for number in range(n_studies)]
    three = next((study for study in known if len(study.image_paths) == 3), known[0])
    with tempfile.TemporaryDirectory() as folder:
        return {
            "machine": machine(torch=torch.__version__, threads=str(torch.get_num_threads())),
            "members": [f"{m.config.name}, {len(m.networks)} networks" for m in ensemble.members],
            "one": one(run, ensemble, three),
            "many": many(ensemble, chosen, Path(folder) / "rows.csv"),
        }


def show(found: Document) -> None:
    """Print what was measured in four lines."""
    single, several = found["one"], found["many"]
    memory = several["megabytes"]
    print(
        f"{'; '.join(found['members'])}; {found['machine']['threads']} threads\n"
        f"one study of {single['views']} views: {single['cold_seconds']:.1f} s cold "
        f"({single['cold_cpu_seconds']:.1f} s of CPU time), "
        f"{single['loaded_ms']:.0f} ms loaded ({single['loaded_cpu_ms']:.0f} ms of CPU time)\n"
        f"{several['studies']:,} studies of {several['radiographs']:,} radiographs: "
        f"{several['studies_per_second']:.1f} a second, {several['share_of_networks_rate']:.0%} of the bare "
        f"networks' rate ({several['share_of_networks_rate_by_cpu_seconds']:.0%} by CPU time)\n"
        f"memory: {memory['tenth']:.0f} MB after a tenth of them, {memory['half']:.0f} MB after half, "
        f"{memory['all']:.0f} MB after all"
    )


def main() -> None:
    parser = document_parser(__doc__)
    parser.add_argument("--run", type=Path, help="a run or packed folder; untrained members without it")
    parser.add_argument("--data", type=Path, help="radiographs to predict; drawn without it")
    parser.add_argument("--preset", default="fast", help="of the untrained members")
    parser.add_argument("--studies", type=int, default=1199)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or Path(folder) / "radiographs"
        if options.data is None:
            synthesize(data, 300, seed=0)
        studies = open_unlabelled(data).studies
        run = options.run or untrained_pack(Path(folder) / "pack", options.preset, studies[:200])
        print_document(measure(run, Ensemble.load(run), studies, options.studies), show, options.json)


if __name__ == "__main__":
    main()
