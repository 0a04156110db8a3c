"""Analyses as jobs, with a host that paints by formula."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lbw.analysis.cells import Cell, choose
from lbw.analysis.effective_blocks import Analysis, Settings
from lbw.analysis.runner import StoppedError
from lbw.analysis.store import CellStore, Rendered
from lbw.api.jobs import Jobs
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import WeightsError
from lbw.core.weights import parse_block_weights
from lbw.ui.analyzer_host import Prepared, Question, Show

SDXL = ARCHITECTURES["sdxl"]

TENSORS = {"IN04": 2, "OUT01": 3}


class Host:
    """Paints a grey picture, 100 darker without OUT01, after it was let go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.go = threading.Event()
        self.go.set()
        self.painted = 0

    def prepare(self, question: Question, show: Show, stopped: Callable[[], bool]) -> Prepared:
        if not question.prompt:
            raise WeightsError("no tag")
        settings = Settings(tuple(choose(question.blocks, SDXL, TENSORS)), (1,))
        analysis = Analysis(settings, SDXL, TENSORS, CellStore(self.folder, {"prompt": question.prompt}))
        return Prepared(analysis, Renderer(self, show, stopped), NoProbe(), "style", "", self.folder / "out")


class NoProbe:
    def noise(self, cell: Cell) -> np.ndarray:
        raise AssertionError("a job scans nothing")


class Renderer:
    def __init__(self, host: Host, show: Show, stopped: Callable[[], bool]) -> None:
        self.host, self.show, self.stopped = host, show, stopped

    def render(self, cell: Cell) -> Rendered:
        self.host.go.wait(20)
        if self.stopped():
            raise StoppedError
        self.host.painted += 1
        level = round(100 + 100 * parse_block_weights(cell.weights).resolve(SDXL, {}).blocks["OUT01"])
        return Rendered(np.full((1, 8, 8, 3), level, np.uint8))

    def progress(self, done: int, total: int, seconds_left: float | None) -> None:
        self.show(done, total, seconds_left)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_job_runs_and_has_a_result(host: Host) -> None:
    jobs = Jobs(host)  # type: ignore[arg-type]
    job = jobs.start(Question("a", blocks="auto"))
    until(lambda: job.state == "done")
    assert (job.done, job.total) == (3, 3)
    result = jobs.get(job.id).result()  # type: ignore[union-attr]
    assert result is not None
    assert {entry["block"]: entry["mean"] for entry in result["blocks"]} == {"IN04": 0.0, "OUT01": 100.0}
    assert result["ranking"] == ["OUT01", "IN04"]


def test_a_stopped_job_keeps_what_is_done_and_the_next_goes_on(host: Host) -> None:
    jobs = Jobs(host)  # type: ignore[arg-type]
    host.go.clear()
    job = jobs.start(Question("a"))
    waiting = jobs.start(Question("b"))
    job.stop.set()
    waiting.stop.set()
    host.go.set()
    until(lambda: job.state == waiting.state == "stopped")
    assert host.painted == 0
    again = jobs.start(Question("a"))
    until(lambda: again.state == "done")
    assert host.painted == 3


def test_one_job_runs_at_a_time(host: Host) -> None:
    jobs = Jobs(host)  # type: ignore[arg-type]
    host.go.clear()
    first, second = jobs.start(Question("a")), jobs.start(Question("b"))
    until(lambda: first.state == "running")
    assert second.state == "waiting"
    host.go.set()
    until(lambda: first.state == second.state == "done")


def test_the_routes(host: Host, tmp_path: Path) -> None:
    fastapi = pytest.importorskip("fastapi")
    client_of = pytest.importorskip("fastapi.testclient").TestClient
    from lbw.api import routes
    from lbw.files.user_presets import PresetStore
    from lbw.webui.hook import Hook

    app = fastapi.FastAPI()
    app.auth = None
    routes.add_routes(app, Hook(PresetStore(tmp_path / "user")), "ann:secret", Jobs(host))  # type: ignore[arg-type]
    assert client_of(app).post("/lbw/v1/analyze", json={"prompt": "a"}).status_code == 401
    client = client_of(app)
    auth = ("ann", "secret")
    refused = client.post("/lbw/v1/analyze", json={"prompt": ""}, auth=auth)
    assert (refused.status_code, refused.json()["detail"]) == (422, "no tag")
    started = client.post("/lbw/v1/analyze", json={"prompt": "a", "blocks": "OUT01"}, auth=auth).json()
    path = f"/lbw/v1/analyze/{started['id']}"
    until(lambda: client.get(path, auth=auth).json()["state"] == "done")
    assert client.get(f"{path}/result", auth=auth).json()["blocks"][0]["percent"] == [100.0]
    assert client.post(f"{path}/stop", auth=auth).status_code == 200
    assert client.get("/lbw/v1/analyze/nowhere", auth=auth).status_code == 404
