"""The studio's own server: the page with the scripts of its own controls, and the routes under `/lbw/v1`."""

from __future__ import annotations

import json
import socket
import threading
import webbrowser
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from lbw.analysis.sessions import Sessions
from lbw.api.routes import add_routes
from lbw.core.errors import HostError
from lbw.core.family import Architecture
from lbw.files.user_presets import ROOT, PresetStore
from lbw.hosts.standalone import Library

from .language import load_words

ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class StudioFiles:
    """What the routes ask of the studio: its presets, its LoRA files and its model."""

    store: PresetStore
    library: Library
    architecture: Architecture

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""
        path = self.library.find(name)
        return None if path is None else str(path)

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs, by name."""
        return {name: str(path) for name, path in self.library.files().items()}

    def loaded(self) -> Architecture:
        """Return the architecture of the studio's model."""
        return self.architecture


class ThisMachineOnly:
    """Refuses what pages of other sites send to this server: it writes files, and it asks nobody for a password.

    The browser says in `Origin` which site a request comes from, and in `Host` what name it found this machine by; a
    name of somebody else's that leads here would make their page one of ours.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer 403, or pass the request on."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            origin = headers.get("origin")
            if not _is_here(host) or (origin is not None and _host_of(origin) != host):
                refused = PlainTextResponse(f"this page is for {ADDRESS} and localhost only\n", 403)
                return await refused(scope, receive, send)
        return await self.app(scope, receive, send)


def _is_here(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in (ADDRESS, "localhost")
    except ValueError:  # such as [::1
        return False


def _host_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def head(language: str | None) -> str:
    """Return what the page's head needs for its own controls and for `language`; None is English.

    The scripts are written out: Gradio puts what it finds here into the page while that is being built, and would not
    wait for files.

    Raises:
        LbwError: there is no such language.
    """
    scripts = sorted((ROOT / "javascript").glob("*.js"))
    words = ""
    if language is not None:
        scripts.insert(0, Path(__file__).with_name("words.js"))
        translation = {"language": language.replace("_", "-"), "words": load_words(language)}
        table = json.dumps(translation, ensure_ascii=False).replace("<", "\\u003c")
        words = f'<script type="application/json" id="lbw-words">{table}</script>'
    return words + "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in scripts)


def application(page: gr.Blocks, files: StudioFiles, sessions: Sessions) -> FastAPI:
    """Return the server: `page` at its root, and beside it the routes."""
    page.show_api = False
    app = FastAPI(title="LoRA Block Weight")
    app.add_middleware(ThisMachineOnly)
    add_routes(app, files, None, sessions)
    return gr.mount_gradio_app(app, page, path="/")


def serve(app: FastAPI, port: int, opens_browser: bool) -> None:
    """Serve `app` on this machine until Ctrl-C.

    Raises:
        HostError: the port is not free.
    """
    try:
        listener = socket.create_server((ADDRESS, port))
    except (OSError, OverflowError) as error:
        raise HostError(f"--port {port} cannot be used: {error}; choose another, for example {port + 1}") from error
    address = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
    print(f"The page is at {address} (press Ctrl+C to stop)", flush=True)
    if opens_browser:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    # In a thread that nobody waits for at the end: a page that is open holds a connection for as long as it is.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="lbw studio", daemon=True)
    thread.start()
    with suppress(KeyboardInterrupt):
        while thread.is_alive():
            thread.join(1)
