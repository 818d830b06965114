"""Commands that each of two processes runs, which `test_several_processes.py` starts with torchrun."""

import contextlib
import io
import json
import sys
from datetime import timedelta
from pathlib import Path

import torch

from base_models import distributed
from base_models.distributed import join_process_group
from mura_app.main import main, run_command


def run_all(commands: Path) -> None:
    """Run the commands of a JSON file, leave statuses and messages beside it, and end with the last."""
    *first, last = json.loads(commands.read_text())
    distributed._SHUTDOWN_TIMEOUT = timedelta(seconds=60)  # so that a busy machine changes nothing
    torch.distributed.init_process_group("gloo")  # as programs do that use this package
    with join_process_group() as group:
        found = []
        for arguments in first:
            messages, printed = io.StringIO(), io.StringIO()
            with contextlib.redirect_stderr(messages), contextlib.redirect_stdout(printed):
                status = run_command([argument.format(rank=group.rank) for argument in arguments])
            found.append((status, messages.getvalue(), printed.getvalue()))
        commands.with_name(f"{group.rank}.json").write_text(json.dumps(found))
        main(last)


if __name__ == "__main__":
    torch.set_num_threads(1)
    run_all(Path(sys.argv[1]))
