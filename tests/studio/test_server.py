"""The studio's server: the routes over its own files, what it keeps to this machine, and its language."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import HostError, LbwError
from lbw.studio.language import FOLDER, load_words
from lbw.studio.store import StudioPresets

from .conftest import DEMO, ROOT

gr = pytest.importorskip("gradio")
pytest.importorskip("torch")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

from lbw.analysis.sessions import Sessions  # noqa: E402
from lbw.hosts.standalone import Library  # noqa: E402
from lbw.studio.server import StudioFiles, application, head, serve  # noqa: E402

TAG = "<lora:planted:1:lbw=%s>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the user's preset files, with one preset."""
    (tmp_path / "lbwpresets.txt").write_text("MINE:0,OUT04=1\n")
    return tmp_path


def client(store: StudioPresets) -> Any:
    """Return a program that talks to the server of an empty page."""
    with gr.Blocks() as page:
        gr.Markdown("the page")
    app = application(page, StudioFiles(store, Library(DEMO / "loras"), ARCHITECTURES["sdxl"]), Sessions(None))  # type: ignore[arg-type]
    return TestClient(app, base_url="http://127.0.0.1:7870")


def weights(asked: Any, name: str) -> dict[str, float]:
    """Return the weights that are not 0 of a tag with the preset `name`; nothing where it is not known."""
    answer = asked.post("/lbw/v1/explain", json={"tag": TAG % name}).json()
    return {} if answer["problems"] else {block: weight for block, weight in answer["blocks"].items() if weight}


class Scripts(HTMLParser):
    """The texts of the scripts of a page, as a browser takes them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "script":
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


def test_the_routes_know_the_studios_loras_and_presets(folder: Path) -> None:
    asked = client(StudioPresets(folder))
    assert [lora["name"] for lora in asked.get("/lbw/v1/loras").json()] == ["planted", "style", "subject"]
    assert asked.get("/lbw/v1/loras/planted").json()["touched"] == ["IN05", "OUT03", "OUT04"]
    assert asked.get("/lbw/v1/loras/nobody").status_code == 404
    assert weights(asked, "MINE") == {"OUT04": 1}
    assert weights(asked, "XL-STYLE") == {"OUT01": 1, "IN08": 1}
    assert asked.get("/lbw/v1/presets").json()["presets"] == {"MINE": "0,OUT04=1"}


def test_a_file_of_presets_that_is_named_takes_the_place_of_all_others(folder: Path) -> None:
    named = folder / "named.txt"
    named.write_text("OTHER:0,IN05=1\n")
    asked = client(StudioPresets(folder, weights=named))
    assert weights(asked, "OTHER") == {"IN05": 1}
    assert weights(asked, "MINE") == weights(asked, "XL-STYLE") == {}
    assert asked.get("/lbw/v1/loras/planted").json()["presets"] == ["OTHER"]
    named.write_text("LATER:0,IN05=1\n")
    assert asked.get("/lbw/v1/loras/planted").json()["presets"] == ["LATER"]


def test_what_the_analyzer_puts_in_is_no_unknown_preset(folder: Path) -> None:
    assert set(weights(client(StudioPresets(folder)), "XYZ").values()) == {1.0}


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:7870"}, True),
        ({"Host": "localhost:7870", "Origin": "http://localhost:7870"}, True),
        ({"Origin": "http://elsewhere.example"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, False),
        ({"Origin": "null"}, False),
        ({"Host": "elsewhere.example:7870"}, False),
        ({"Host": "elsewhere.example:7870", "Origin": "http://elsewhere.example:7870"}, False),
        ({"Host": "127.0.0.1.elsewhere.example"}, False),
        ({"Host": "[::1"}, False),
        ({"Host": "]"}, False),
        ({"Host": ""}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "http://[::1"}, False),
        ({"Origin": ""}, False),
    ],
)
def test_other_sites_reach_neither_the_routes_nor_the_page(
    folder: Path, headers: dict[str, str], is_ours: bool
) -> None:
    asked = client(StudioPresets(folder))
    version = asked.get("/lbw/v1/presets").json()["version"]
    sent = asked.put("/lbw/v1/presets", json={"text": "NEW:1\n", "version": version}, headers=headers)
    page = asked.get("/", headers=headers)
    assert (sent.status_code, page.status_code) == ((200, 200) if is_ours else (403, 403))
    assert (folder / "lbwpresets.txt").read_text() == ("NEW:1\n" if is_ours else "MINE:0,OUT04=1\n")


def test_the_page_has_each_script_whole() -> None:
    made = Scripts(head(None)).texts
    assert made == [path.read_text(encoding="utf-8") for path in sorted((ROOT / "javascript").glob("*.js"))]


@pytest.mark.parametrize("name", ["tlh", "", "../localizations/ja_JP", "ja_JP.json", "/etc/passwd"])
def test_a_language_that_is_not_there_is_told_with_those_that_are(name: str) -> None:
    with pytest.raises(LbwError, match="ja_JP, ko_KR, pt_BR, zh_CN, zh_TW"):
        load_words(name)


def test_the_head_has_the_words_of_the_language_and_nothing_that_ends_its_script() -> None:
    assert "lbw-words" not in head(None)
    made = head("ja_JP")
    found, _ = json.JSONDecoder().raw_decode(made, made.index("{"))
    words = json.loads((FOLDER / "ja_JP.json").read_text(encoding="utf-8"))
    assert found == {"language": "ja-JP", "words": words}
    assert len(Scripts(made).texts) == len(Scripts(head(None)).texts) + 2


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostError, match=f"--port {port} cannot be used"):
            serve(None, port, opens_browser=False)  # type: ignore[arg-type]


def test_it_ends_at_ctrl_c_while_somebody_is_connected() -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from fastapi import FastAPI; from lbw.studio.server import serve; serve(FastAPI(), 0, False); print('ended')"
    )
    server = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    address = server.stdout.readline().split()[4]
    with socket.create_connection(("127.0.0.1", int(address.strip("/").rpartition(":")[2]))) as connected:
        connected.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connected.recv(20).startswith(b"HTTP/1.1 404")
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=60)[0] == "ended\n"
    assert server.returncode == 0
