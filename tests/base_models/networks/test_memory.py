"""Memory that tensors have freed is used again."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource
import torch
from base_models.networks.memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {kept}:
    keep_freed_memory()
for _ in range(3):
    torch.ones(20_000_000)
before = faults()
for _ in range(20):
    torch.ones(20_000_000)  # 80 MB, some 20,000 pages
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_pages_are_not_mapped_anew_for_every_tensor() -> None:
    with_it, without = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS.format(kept=kept)]))
        for kept in (True, False)
    )
    assert with_it < without / 4
