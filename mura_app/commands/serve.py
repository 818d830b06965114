"""`mura serve`: a trained run behind HTTP, with a page to ask it."""

import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from mura_app.locks import lock_in, locked
from mura_app.terminal import message, print_json
from mura_env.errors import UserError
from mura_env.utils.options import Range, check_options


@dataclass(frozen=True)
class Command:
    """Options of `mura serve`."""

    run_directory: Annotated[Path, tyro.conf.arg(name="run")]
    """Run directory, or what `mura pack` made of one."""

    agent: str | None = None
    """Weighting agent; by default the one of highest cross-validated accuracy on the training studies."""

    host: str = "127.0.0.1"
    """Address to listen at; at 0.0.0.0 other machines reach it, too, without a password."""

    port: Annotated[int, Range("[0, 65535]")] = 8000
    """Port to listen at; 0 takes a free one."""

    max_megabytes: Annotated[int, Range("[1, 4096]")] = 64
    """Largest size of a request."""

    max_radiographs: Annotated[int, Range("[1, 256]")] = 16
    """Most radiographs of a study."""

    max_megapixels: Annotated[int, Range("[1, 4096]")] = 100
    """Most pixels of a study's radiographs together, in millions."""

    queue: Annotated[int, Range("[1, 1024]")] = 16
    """Most requests at a time; others are told to try again later."""

    timeout: Annotated[int, Range("[1, 3600]")] = 60
    """Seconds within which a request must be sent, and a study be predicted."""

    metrics: bool = False
    """Show counts and times of requests, without anything of patients, at `/metrics`."""

    json: bool = False
    """Print a JSON document with the address on standard output, once it answers there."""

    def __post_init__(self) -> None:
        check_options(self)

    def run(self) -> None:
        """Load the run and answer until the process is ended."""
        if missing := [name for name in ("fastapi", "uvicorn", "python_multipart") if not find_spec(name)]:
            raise UserError(
                f"expected the libraries of the extra [serve], but {missing[0]} is not installed; install "
                "them with: pip install 'mura-rl-ensemble[serve]'"
            )
        with self._listening() as listening:
            self._serve(listening)

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            if not self.host.strip():  # which would stand for all addresses
                raise OSError(0, "no host")
            self.host.encode("idna")  # what cannot be looked up is a UnicodeError here
            return socket.create_server((self.host, self.port), family=family)
        except (OSError, UnicodeError) as error:
            reason = (getattr(error, "strerror", None) or "no name of a host").partition(" (while")[0]
            raise UserError(
                f"expected an address to listen at, got {self.host}:{self.port} ({reason}); choose "
                "another --port or --host"
            ) from error

    def _serve(self, listening: socket.socket) -> None:
        from mura_app.inference.ensemble import Ensemble
        from mura_app.server.app import create_app, server_of
        from mura_app.server.limits import Limits

        with locked((), (lock_in(self.run_directory),) if self.run_directory.is_dir() else ()):
            ensemble = Ensemble.load(self.run_directory, self.agent)
        if not ensemble.members:
            raise UserError(
                "expected a run with trained members, got one of tables, which reads no "
                "radiographs; name another"
            )
        limits = Limits(
            self.max_megabytes, self.max_radiographs, self.max_megapixels, self.queue, self.timeout
        )
        app = create_app(ensemble, self.run_directory.resolve().stem, limits, with_metrics=self.metrics)
        host, port = listening.getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if self.json:
            print_json({"address": address})
        else:
            message(f"answering at {address} until Ctrl-C")
        server_of(app).run(sockets=[listening])
