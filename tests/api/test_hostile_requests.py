"""Requests that no page sends: each is rejected at once with a 4xx that says why, and nothing is done."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")
uvicorn = pytest.importorskip("uvicorn")
import fastapi  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from lbw.analysis.sessions import Sessions  # noqa: E402
from lbw.api.routes import add_routes  # noqa: E402
from lbw.core import limits  # noqa: E402
from lbw.files.user_presets import PresetStore  # noqa: E402
from tests.analysis.session_host import PROMPT, PaintingHost, until  # noqa: E402

from .test_routes import write_lora  # noqa: E402

HUGE = "9" * 5000


@pytest.fixture
def app(tmp_path: Path) -> Any:
    """The routes in somebody else's application, as in a WebUI."""
    write_lora(tmp_path / "loras" / "subject.safetensors", "output_blocks_0_1_proj_in")
    files = {path.stem: str(path) for path in (tmp_path / "loras").iterdir()}
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "lbwpresets.txt").write_text("MINE:1\n")
    server = SimpleNamespace(
        store=PresetStore(tmp_path / "user"), find=files.get, lora_files=lambda: files, loaded=lambda: None
    )
    app = fastapi.FastAPI()
    host = PaintingHost(tmp_path)
    app.state.host, app.state.files = host, files
    add_routes(app, server, None, Sessions(host))  # type: ignore[arg-type]
    return app


@pytest.fixture
def client(app: Any) -> Any:
    return TestClient(app, raise_server_exceptions=False)


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text[:300]
    assert all(word in answer.text for word in words), answer.text[:300]
    assert len(answer.content) < 2000


@pytest.mark.parametrize(
    ("route", "body", "words"),
    [
        ("explain", r'{"tag": "<lora:subject:1:lbw=\ud800>"}', ["half of a surrogate pair", "ud800"]),
        ("explain", r'{"tag": "a", "\udfff": 1}', ["half of a surrogate pair"]),
        ("analyze", r'{"prompt": "\udc00"}', ["half of a surrogate pair"]),
        ("explain", '{"tag": "<lora:subject:1>", "seed": 1e400}', ["inf", "finite"]),
        ("explain", '{"tag": "<lora:subject:1>", "seed": -Infinity}', ["inf", "finite"]),
        ("analyze", '{"prompt": "a", "cfg_scale": NaN}', ["nan", "finite"]),
        ("explain", '{"tag": "<lora:subject:1>", "seed": 1' + "0" * 400 + "}", ["seed", str(limits.SEED)]),
        ("analyze", '{"prompt": "a", "steps": 1000000000}', ["steps", "1000"]),
        ("analyze", '{"prompt": "a", "steps": 0}', ["steps", "1"]),
        ("analyze", '{"prompt": "a", "width": 1000000000}', ["width", "8192"]),
        ("analyze", '{"prompt": "a", "height": 1000000000}', ["height", "8192"]),
        ("analyze", '{"prompt": "a", "height": -8}', ["height", "8"]),
        ("analyze", '{"prompt": "a", "seeds": 1000000000}', ["seeds", "1000"]),
        ("analyze", '{"prompt": "a", "seed": 99999999999999999999}', ["seed", str(limits.SEED)]),
        ("analyze", '{"prompt": "a", "cfg_scale": 1e300}', ["cfg_scale", "1000"]),
        ("analyze", '{"prompt": "a", "threshold": 256}', ["threshold", "255"]),
        ("explain", '{"tag": {"a": "' + "b" * 100_000 + '"}}', ["tag", "string"]),
        ("explain", "nothing", ["JSON"]),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_with_what_can(client: Any, app: Any, route: str, body: str, words: Any) -> None:
    began = time.monotonic()
    answer = client.post(f"/lbw/v1/{route}", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 422, *words)
    assert time.monotonic() - began < 20
    assert app.state.host.painted == []


@pytest.mark.parametrize("body", ['{"tag": ' + "[" * 100_000, f'{{"tag": "a", "seed": {HUGE}}}', b'{"tag": "\xff"}'])
def test_json_that_cannot_be_read_is_refused(client: Any, body: Any) -> None:
    answer = client.post("/lbw/v1/explain", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize("weights", [f"{HUGE}ALL", f"{HUGE}", f"0,{HUGE}=1", f"1:start={HUGE}"])
def test_a_number_of_5000_digits_in_a_tag_is_told(client: Any, weights: str) -> None:
    answer = client.post("/lbw/v1/explain", json={"tag": f"<lora:subject:1:lbw={weights}>"})
    assert answer.status_code in (200, 422)
    detail = answer.json().get("problems") or [answer.json().get("detail")]
    assert "999" in str(detail)
    assert len(answer.content) < 20_000


def test_a_lora_whose_name_is_no_text_hides_no_other(client: Any, app: Any) -> None:
    app.state.files[os.fsdecode(b"bad \xff")] = next(iter(app.state.files.values()))
    assert [entry["name"] for entry in client.get("/lbw/v1/loras").json()] == ["subject"]


# Bodies ------------------------------------------------------------------------------------------


@pytest.fixture
def address(app: Any) -> Iterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(10)


def zeros(megabytes: int) -> Iterator[bytes]:
    for _ in range(megabytes):
        yield bytes(1 << 20)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_of_200_mb_is_refused(address: tuple[str, int], is_chunked: bool) -> None:
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.putrequest("PUT", "/lbw/v1/presets")
    connection.putheader("Content-Type", "application/json")
    connection.putheader(*(("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(200 << 20))))
    connection.endheaders()
    for chunk in zeros(200):
        connection.send(b"100000\r\n" + chunk + b"\r\n" if is_chunked else chunk)
    answer = connection.getresponse()
    assert (answer.status, f"{limits.BODY_BYTES:,} bytes" in answer.read().decode()) == (413, True)
    connection.close()
    after = http.client.HTTPConnection(*address, timeout=60)
    after.request("GET", "/lbw/v1/presets")
    assert json.loads(after.getresponse().read())["presets"] == {"MINE": "1"}


@pytest.mark.parametrize("length", [limits.BODY_BYTES + 1, 200 << 20, 10**30])
def test_a_body_that_is_announced_as_too_large_is_refused_at_once(address: tuple[str, int], length: int) -> None:
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.putrequest("PUT", "/lbw/v1/presets")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(length))
    connection.endheaders()
    answer = connection.getresponse()  # though nothing of the body was sent
    assert answer.status in (400, 413)  # the server itself takes no number of 30 digits
    if answer.status == 413:
        assert f"{limits.BODY_BYTES:,} bytes" in answer.read().decode()


def test_a_large_preset_file_is_saved(client: Any) -> None:
    version = client.get("/lbw/v1/presets").json()["version"]
    text = "# " + "é" * 1_000_000 + "\n"
    assert client.put("/lbw/v1/presets", json={"text": text, "version": version}).status_code == 200


def test_a_text_larger_than_any_preset_file_is_refused(client: Any) -> None:
    version = client.get("/lbw/v1/presets").json()["version"]
    sent = {"text": "a" * (limits.PRESET_FILE_BYTES + 1), "version": version}
    refused(client.put("/lbw/v1/presets", json=sent), 413, "16,777,216 bytes")
    assert client.get("/lbw/v1/presets").json()["presets"] == {"MINE": "1"}


# Analyses ----------------------------------------------------------------------------------------


def test_an_analysis_that_waits_is_stopped_at_once_and_renders_nothing(client: Any, app: Any) -> None:
    app.state.host.go.clear()
    asked = [{"prompt": PROMPT, "seed": seed} for seed in (1, 2, 3)]
    first, second = (client.post("/lbw/v1/analyze", json=one).json()["id"] for one in asked[:2])
    until(lambda: client.get(f"/lbw/v1/analyze/{first}").json()["state"] == "running")
    assert client.post(f"/lbw/v1/analyze/{second}/stop").json()["state"] == "stopped"
    client.post(f"/lbw/v1/analyze/{first}/stop")
    third = client.post("/lbw/v1/analyze", json=asked[2]).json()["id"]
    app.state.host.go.set()
    until(lambda: client.get(f"/lbw/v1/analyze/{third}").json()["state"] == "done")
    states = [client.get(f"/lbw/v1/analyze/{key}").json()["state"] for key in (first, second)]
    assert (states, [cell.seed for cell in app.state.host.painted]) == (["stopped", "stopped"], [3] * 4)


@pytest.mark.usefixtures("goes_on")
def test_only_so_many_analyses_wait(client: Any, app: Any) -> None:
    app.state.host.go.clear()
    asked = {"prompt": PROMPT, "seed": 1}
    keys = [client.post("/lbw/v1/analyze", json=asked).json()["id"]]
    until(lambda: client.get(f"/lbw/v1/analyze/{keys[0]}").json()["state"] == "running")
    for _ in range(limits.ANALYSES):
        keys.append(client.post("/lbw/v1/analyze", json=asked).json()["id"])
    assert len(set(keys)) == 1 + limits.ANALYSES
    refused(client.post("/lbw/v1/analyze", json=asked), 503, "20 analyses are already waiting")
    client.post(f"/lbw/v1/analyze/{keys[-1]}/stop")
    assert client.post("/lbw/v1/analyze", json=asked).status_code == 200


@pytest.fixture
def goes_on(app: Any) -> Iterator[None]:
    """Wait for what the test has started."""
    yield
    app.state.host.go.set()
