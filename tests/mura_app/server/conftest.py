import socket
import threading
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from PIL import Image

from agents import make_agent
from base_models.calibration import Calibration
from base_models.config import MemberConfig
from base_models.members import TrainedMember, new_network
from mura_app import Ensemble
from mura_app.schema import EnsembleFacts
from tests.mura_app.conftest import make_table

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")


def member(name, size):
    config = MemberConfig(name, image_size=size, options={"blocks": 1, "width": 8})
    calibration = Calibration(0.05, (0.0, 0.0))  # networks that learned nothing hardly tell studies apart
    networks = (new_network(config, 2).eval(),)
    return TrainedMember(config, networks, calibration, (calibration,), ("normal", "abnormal"), 64)


@pytest.fixture(scope="session")
def ensemble():
    table = make_table(200, 0, "train")
    return Ensemble(
        [member("coarse", 32), member("fine", 48)],
        make_agent("static_per_body_part").fit(table, seed=0),
        EnsembleFacts(
            class_names=list(table.class_names),
            body_part_names=list(table.body_part_names),
            agent="static_per_body_part",
            seed=0,
            threshold=0.4,
            uniform_threshold=0.5,
            measured=None,
        ),
    )


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Radiographs of noise; the last is larger than what libraries keep in memory by themselves."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(90, 70), (64, 80), (1300, 1100)]):
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / f"secret-{number}.png")
    return sorted(folder.iterdir())


@contextmanager
def serving(ensemble, limits=None, **options):
    """Serve on a free port, as the command does; gives a client."""
    from mura_app.server.app import create_app, server_of
    from mura_app.server.limits import Limits

    listening = socket.create_server(("127.0.0.1", 0))
    server = server_of(create_app(ensemble, "tiny", limits or Limits(), **options))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=120) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def client(ensemble):
    with serving(ensemble, with_metrics=True) as running:
        yield running
