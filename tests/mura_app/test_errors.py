import errno
import os
import pickle
import signal

import pytest
import torch
from joblib.externals.loky import ProcessPoolExecutor
from torch.utils.data import DataLoader, Dataset

from mura_app.errors import user_message
from mura_env.errors import (
    UserError,
    UserFileError,
    UserFileExistsError,
    UserFileNotFoundError,
)

CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.31"
    " GiB is free. Including non-PyTorch memory, this process has 14.45 GiB memory in use."
)
CUDA_ITSELF = "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"
CPU = "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"
GLOO = "[pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:561] Connection closed by peer [127.0.0.1]:8356."
NCCL = "NCCL error in: NCCLUtils.cpp, remote process exited or network error\nncclRemoteError: A call failed"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            torch.OutOfMemoryError(CUDA),
            "the GPU holds, got options that ask for more (Tried to allocate 2.50 GiB)",
        ),
        (
            RuntimeError(CUDA_ITSELF),
            "the GPU holds, got options that ask for more (CUDA error: out of memory)",
        ),
        (MemoryError(), "of this machine holds, got options that ask for more (of unknown size)"),
        (RuntimeError(CPU), f"of this machine holds, got options that ask for more ({CPU})"),
        (RuntimeError(GLOO), "expected all processes of torchrun to run to the end"),
        (torch.distributed.DistBackendError(NCCL), "expected all processes of torchrun to run to the end"),
        (UserError("expected a, got b"), "expected a, got b"),
        (UserFileNotFoundError("expected a, got b"), "expected a, got b"),
        (FileNotFoundError(2, "No such file", "x"), "got No such file for x; check the path and"),
        (
            OSError(errno.ENOSPC, "No space left"),
            "expected files that can be read and written, got No space left; free some space",
        ),
        (
            OSError(errno.EFBIG, "File too large", "a/b"),
            "File too large for a/b; raise the limit of the size",
        ),
        (FileExistsError(errno.EEXIST, "File exists", b"a\xff"), "got File exists for a\udcff; check"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "of this machine holds"),
        (FileNotFoundError(2, "No such file"), None),
        (OSError("cannot identify image file"), None),
        (OSError(errno.EINVAL, "Invalid argument", "x"), None),
        (ValueError("operands could not be broadcast together with shapes (3,) (4,)"), None),
        (RuntimeError("something else"), None),
        (torch.distributed.DistBackendError("NCCL error: invalid usage"), None),
        (KeyError("out of memory"), None),
    ],
)
def test_errors_of_the_user_and_of_the_machine_are_told(error: Exception, words: str | None) -> None:
    told = user_message(error)
    assert told is None if words is None else words in told


def test_advice_against_want_of_memory_names_the_options() -> None:
    told = user_message(torch.OutOfMemoryError(CUDA))
    for option in (
        "--ensemble.training.batch-size",
        "--ensemble.training.gradient-accumulation",
        "--ensemble.jobs",
    ):
        assert option in told


def test_where_another_process_has_met_an_error_is_told() -> None:
    error = UserError("expected a, got b")
    error.add_note("rank 3, on node7")
    assert user_message(error) == "expected a, got b (rank 3, on node7)"
    defect = TypeError("no")
    defect.add_note("rank 3, on node7")
    assert user_message(defect) is None


@pytest.mark.parametrize("kind", [UserError, UserFileError, UserFileExistsError, UserFileNotFoundError])
def test_errors_of_users_cross_processes_with_class_and_notes(kind: type[Exception]) -> None:
    error = kind("expected a, got b")
    error.add_note("rank 3, on node7")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 (our own object)
    assert type(again) is kind
    assert user_message(again) == "expected a, got b (rank 3, on node7)"


def _raise_user_error() -> None:
    raise UserFileExistsError("expected a, got b")


def test_a_worker_s_user_error_is_one() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(UserFileExistsError) as caught:
        pool.submit(_raise_user_error).result()
    assert user_message(caught.value) == "expected a, got b"


def _end_by(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "is_told"), [(signal.SIGKILL, True), (signal.SIGSEGV, False)])
def test_a_worker_that_the_system_has_killed_is_told_and_one_that_crashed_is_a_defect(
    number: signal.Signals, *, is_told: bool
) -> None:
    with (
        ProcessPoolExecutor(1, env={"PYTHONFAULTHANDLER": ""}) as pool,
        pytest.raises(RuntimeError, match="terminated") as caught,
    ):
        pool.submit(_end_by, number).result()
    told = user_message(caught.value)
    assert (told is not None) == is_told
    if told is not None:
        assert "got one that was killed" in told
        assert "--ensemble.jobs" in told


class _Killed(Dataset[int]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_process_that_prepares_batches_and_was_killed_is_told() -> None:
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(_Killed(), num_workers=1, multiprocessing_context="fork"))
    assert "got one that was killed" in str(user_message(caught.value))


def test_of_a_process_that_prepares_batches_torch_may_not_say_the_signal() -> None:
    ended = RuntimeError("DataLoader worker (pid(s) 11377) exited unexpectedly")
    assert "got one that was killed" in str(user_message(ended))
    ended.__cause__ = RuntimeError("DataLoader worker (pid 11377) is killed by signal: Segmentation fault. ")
    assert user_message(ended) is None
