"""The routes for analyses, with a host that paints by formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lbw.analysis.analysis_session import NOT_FINITE
from lbw.analysis.cells import Cell
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.sessions import Sessions
from lbw.files.user_presets import PresetStore
from lbw.webui.hook import Hook
from tests.analysis.session_host import DRAWN, PROMPT, NoiseOfTwo, PaintingHost, until

fastapi = pytest.importorskip("fastapi")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

from lbw.api import routes  # noqa: E402

AUTH = ("ann", "secret")


class Client:
    """A program that asks the routes of a server whose analyses `host` paints."""

    def __init__(self, host: PaintingHost, api_auth: str | None = None) -> None:
        app = fastapi.FastAPI()
        app.auth = None
        routes.add_routes(app, Hook(PresetStore(host.folder / "user")), api_auth, Sessions(host))  # type: ignore[arg-type]
        self.asked = TestClient(app)

    def post(self, path: str = "", **fields: Any) -> Any:
        return self.asked.post(f"/lbw/v1/analyze{path}", **fields)

    def get(self, path: str = "", **fields: Any) -> Any:
        return self.asked.get(f"/lbw/v1/analyze{path}", **fields)

    def finished(self, **asked: Any) -> Any:
        """Start an analysis, and return its state when it is over."""
        key = self.post(json={"prompt": PROMPT, **asked}).json()["id"]
        until(lambda: self.get(f"/{key}").json()["state"] in ("done", "stopped", "failed"))
        return self.get(f"/{key}").json()


@pytest.fixture
def host(tmp_path: Path) -> PaintingHost:
    return PaintingHost(tmp_path)


def test_an_analysis_is_started_watched_and_read(host: PaintingHost) -> None:
    client = Client(host, "ann:secret")
    assert client.post(json={"prompt": PROMPT}).status_code == 401
    client.asked.auth = AUTH
    refused = client.post(json={"prompt": "a cat"})
    assert (refused.status_code, "lbw=XYZ" in refused.json()["detail"]) == (422, True)
    state = client.finished(blocks="IN04")
    assert (state["state"], state["done"], state["total"], state["error"]) == ("done", 2, 2, "")
    assert state["messages"] == ["Done: 2 pictures rendered, 0 reused."]
    figures = client.get(f"/{state['id']}/result").json()
    assert figures["blocks"][0]["percent"] == [10.0]
    assert figures["settings"]["seeds"] == [DRAWN]
    assert client.post(f"/{state['id']}/stop").json()["state"] == "done"
    for method, path in ((client.get, ""), (client.get, "/result"), (client.post, "/stop")):
        assert method(f"/nowhere{path}").status_code == 404


@pytest.mark.parametrize("path", ["", "/nowhere", "/nowhere/result"])
def test_analyses_are_told_to_nobody_without_credentials(host: PaintingHost, path: str) -> None:
    assert Client(host, "ann:secret").get(path).status_code == 401


def test_its_files_lie_where_it_says_pictures_too(host: PaintingHost) -> None:
    state = Client(host).finished(seed=3, seeds=2)
    names = ["analysis.csv", "analysis.json", "chart.png", "grid-seed4.png", "grid.png"]
    assert sorted(state["files"]) == [str(host.folder / "out" / state["id"] / name) for name in names]
    assert all(Path(file).is_file() for file in state["files"])


def test_one_whose_pictures_all_failed_has_failed(host: PaintingHost) -> None:
    host.fails = lambda cell: True
    state = Client(host).finished(seed=3)
    assert state["state"] == "failed"
    assert state["error"] == "The source failed for seed 3: RuntimeError: out of memory"
    assert "Done: 0 pictures rendered, 0 reused, 4 failed." in state["messages"]


class NotFinite(NoiseOfTwo):
    """Noise that is not a number wherever `is_broken` holds."""

    def __init__(self, is_broken: Callable[[Cell], bool]) -> None:
        super().__init__()
        self.is_broken = is_broken

    def noise(self, cell: Cell) -> np.ndarray:
        return super().noise(cell) * (np.nan if self.is_broken(cell) else 1)


def test_figures_that_are_not_numbers_are_null(host: PaintingHost) -> None:
    host.probe = NotFinite(lambda cell: "IN08=0," in cell.weights)
    client = Client(host)
    state = client.finished(seed=4, mode="quick")
    assert (state["state"], state["messages"][1:]) == ("done", [f"IN08: {NOT_FINITE}"])
    answer = client.get(f"/{state['id']}/result")
    assert answer.status_code == 200
    figures = {block["block"]: (block["percent"], block["mean"], block["std"]) for block in answer.json()["blocks"]}
    assert figures["IN08"] == ([None], None, None)
    assert figures["IN04"][1] == pytest.approx(40)
    assert answer.json()["ranking"] == ["IN04", "OUT00"]
    assert Client(host).get(f"/{state['id']}/result").json() == answer.json()


def test_a_quick_scan_without_any_figure_has_failed(host: PaintingHost) -> None:
    host.probe = NotFinite(lambda cell: True)
    client = Client(host)
    state = client.finished(seed=4, mode="quick")
    assert (state["state"], state["error"], state["files"]) == ("failed", NOT_FINITE, [])
    assert client.get(f"/{state['id']}/result").json()["ranking"] == []


def test_earlier_analyses_are_listed_and_read_after_a_restart(host: PaintingHost) -> None:
    first = Client(host).finished(seed=3)
    figures = Client(host).get(f"/{first['id']}/result").json()
    client = Client(host)
    assert client.get().json() == [{"id": first["id"], "lora": "demo", "prompt": PROMPT, "state": "done"}]
    again = client.get(f"/{first['id']}").json()
    assert (again["state"], again["done"], sorted(again["files"])) == ("done", 4, sorted(first["files"]))
    assert figures["ranking"] == ["IN04", "IN08", "OUT00"]
    assert client.get("/..%2Fout").status_code == 404
    (Path(first["files"][0]).parent / "analysis.json").write_text("{")
    assert client.get().json() == []
    assert client.get(f"/{first['id']}").status_code == 404


def test_an_earlier_report_that_contradicts_itself_is_told(host: PaintingHost) -> None:
    state = Client(host).finished(seed=3)
    path = host.folder / "out" / state["id"] / "analysis.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"threshold": 20', '"threshold": 999'), encoding="utf-8")
    answer = Client(host).get(f"/{state['id']}")
    assert (answer.status_code, 'difference threshold "999"' in answer.json()["detail"]) == (422, True)


def test_the_docs_say_of_each_option_what_the_definition_says(host: PaintingHost) -> None:
    schema = Client(host).asked.get("/openapi.json").json()["components"]["schemas"]["Analysis"]
    options = AnalysisRequest.options()
    assert schema["required"] == ["prompt"]
    assert set(schema["properties"]) == set(options)
    for name, option in options.items():
        field = schema["properties"][name]
        number = next((one for one in field.get("anyOf", ()) if one["type"] == "number"), field)
        assert field["description"] == f"{option.label}: {option.meaning}"
        bounds = [None if bound is None else float(bound) for bound in (option.low, option.high)]  # as OpenAPI has them
        assert [number.get("minimum"), number.get("maximum")] == bounds
        assert tuple(field.get("enum", ())) == option.allowed
        if name != "prompt":
            assert field.get("default") == json.loads(json.dumps(option.default))
