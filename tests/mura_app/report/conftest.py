import base64
import io

import pytest
from PIL import Image

from agents.benchmark import run_benchmark
from mura_app.report.page import render_page
from mura_app.report.sections import shown_changes

TITLE = "Two experts <test>"


@pytest.fixture(scope="session")
def document(tables):
    agents = {"best_single": {}, "reinforce": {"total_steps": 4_000}, "static_per_body_part": {}}
    return run_benchmark(*tables, agents=agents, seeds=(0, 1), n_jobs=1, n_resamples=200)


@pytest.fixture(scope="session")
def thumbnails(document):
    buffer = io.BytesIO()
    Image.new("L", (96, 96), 80).save(buffer, format="JPEG")
    address = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return dict.fromkeys(sorted(shown_changes(document))[::2], address)


@pytest.fixture(scope="session")
def page(document, thumbnails):
    return render_page(document, title=TITLE, settings={"seed": 0}, thumbnails=thumbnails)
