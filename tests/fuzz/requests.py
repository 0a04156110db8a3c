"""Requests to the studio's server as a program of this machine sends them, and what must hold of each answer.

The server is the studio's own but for its page and its model: the routes, the guard before them, the check of an
analysis. An analysis that is accepted is not run.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from lbw.core import limits
from lbw.core.architectures import ARCHITECTURES

from . import inputs
from .inputs import Generator

LORA = "subject"
PRESETS = "MIDD:1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0\nOUTALL:0,OUT=1\nMINE@flux:0,D=1\n"
MOST_SAID = 4_000
"""Characters of an answer that refuses: it says what is wrong, and does not echo the request."""


@dataclass
class Server:
    """The application, and what it was made of. started: the analyses that were accepted."""

    app: Any
    folder: Path
    loop: asyncio.AbstractEventLoop
    sessions: Any
    started: list[Any] = field(default_factory=list)

    def reset(self) -> None:
        """Reset everything to its initial state, so that an answer depends on its request alone."""
        self.started.clear()
        self.sessions.forget()
        for path in self.folder.glob("presets/*"):
            path.unlink()
        (self.folder / "presets").mkdir(exist_ok=True)
        (self.folder / "presets" / "lbwpresets.txt").write_text(PRESETS, encoding="utf-8")

    def ask(self, method: str, path: bytes, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        """Return the status, the headers and the body of the answer; whatever the application raises passes."""
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path.decode("utf-8", "replace"), "raw_path": path, "query_string": query, "root_path": "",
            "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 7860),
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return parts.pop() if parts else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        self.loop.run_until_complete(self.app(scope, receive, send))
        (start,) = (message for message in sent if message["type"] == "http.response.start")
        answered = b"".join(message.get("body", b"") for message in sent)
        return start["status"], dict(start["headers"]), answered


@cache
def server() -> Server:
    """Return the server, which stays until the end of the process."""
    from fastapi import FastAPI

    from lbw.analysis.session import Session
    from lbw.analysis.sessions import Sessions
    from lbw.api.routes import add_routes
    from lbw.files.user_presets import PresetStore
    from lbw.hosts.standalone import Library
    from lbw.studio.host import StudioHost
    from lbw.studio.renderer import PictureRenderer
    from lbw.studio.server import StudioFiles, ThisMachineOnly

    memory = Path("/dev/shm")
    kept = tempfile.TemporaryDirectory(prefix="lbw-fuzz-", dir=memory if memory.is_dir() else None)
    folder = Path(kept.name)
    (folder / "loras").mkdir()
    write_lora(folder / "loras" / f"{LORA}.safetensors")
    store = PresetStore(folder / "presets")
    library, architecture = Library(folder / "loras"), ARCHITECTURES["sdxl"]
    host: Any = SimpleNamespace(
        library=library, architecture=architecture, pipeline=None, tensors=lambda name: dict.fromkeys(blocks, 2)
    )
    blocks = architecture.blocks

    class Started(Sessions):
        """Analyses that are accepted and never run."""

        def _begin(self, session: Session) -> None:
            made.started.append(session)

        def forget(self) -> None:
            self._sessions.clear()

    sessions = Started(StudioHost(lambda: PictureRenderer(host, store.presets(), {}), False, None, folder / "cells"))
    app = FastAPI()
    app.state.folder = kept  # removed with the server
    app.add_middleware(ThisMachineOnly)
    add_routes(app, StudioFiles(store, library, architecture), None, sessions)
    made = Server(app, folder, asyncio.new_event_loop(), sessions)
    return made


def write_lora(path: Path) -> None:
    """Write a LoRA of two blocks."""
    import torch
    from safetensors.torch import save_file

    layer = "lora_unet_{}_1_transformer_blocks_0_attn2_to_k.{}.weight"
    tensors = {}
    for place in ("input_blocks_4", "output_blocks_0"):
        tensors[layer.format(place, "lora_down")] = torch.zeros(1, 2048)
        tensors[layer.format(place, "lora_up")] = torch.zeros(640, 1)
    save_file(tensors, path)


# Requests ----------------------------------------------------------------------------------------


def raw(chance: Generator) -> bytes:
    """Return bytes of a header or a path."""
    return inputs.text(chance)[:300].encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")


def escaped(chance: Generator) -> str:
    """Return a value for a part of an address."""
    return quote(raw(chance), safe=chance.choice(("", "/&=%+")))


def address(chance: Generator) -> tuple[str, str, str]:
    """Return a method, a path after the prefix, and a query."""
    named = chance.choice((LORA, escaped(chance), "a/" * 50))
    model = chance.choice(("sdxl", "flux", escaped(chance)))
    queries = (
        "", "", "kind=weights", "kind=elements", f"kind={escaped(chance)}", f"lora={named}", f"architecture={model}",
        f"lora={named}&architecture={model}", escaped(chance),
    )  # fmt: skip
    places = (
        ("POST", "explain"), ("POST", "explain"), ("POST", "analyze"), ("POST", "analyze"), ("PUT", "presets"),
        ("GET", "presets"), ("GET", "loras"), ("GET", f"loras/{named}"), ("GET", "blocks"), ("GET", "blocks"),
        ("POST", f"analyze/{named}/stop"), ("GET", f"analyze/{named}/result"), ("GET", f"analyze/{named}"),
        (chance.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "X")), escaped(chance)),
    )  # fmt: skip
    return (*chance.choice(places), chance.choice(queries))


def analysis(chance: Generator) -> dict[str, Any]:
    """Return what starts an analysis, each field at or a little past a limit now and then."""
    items = [" ".join(chance.choice(("IN04", "IN05", "OUT", "M00")) for _ in range(n % 9 + 1)) for n in range(3_000)]
    blocks = ("auto", "12ALL", "20ALL", "IN04,OUT00", ",".join(items[: chance.choice((3, 3_000))]), inputs.text(chance))
    side = chance.choice((64, 8, 9, 8_192, 8_200))
    return {
        "prompt": f"a <lora:{LORA}:1:lbw=XYZ>", "negative_prompt": "", "seed": chance.choice((-1, 3, limits.SEED)),
        "steps": chance.choice((1, 4, limits.STEPS, limits.STEPS + 1)), "width": side, "height": 64, "cfg_scale": 4.5,
        "sampler_name": "", "range": chance.choice(("0,1", "0.5,1", "1e3,0", "1e4,0", "1,1", inputs.numbers(chance))),
        "blocks": chance.choice(blocks), "seeds": chance.choice((1, 2, 40, limits.SEEDS)), "threshold": 20,
        "mode": chance.choice(("full", "quick")),
        "more_prompts": chance.choice(([], ["b"], [inputs.tag(chance)] * 3, ["c"] * 200)), "region": "", "at": "0.3",
    }  # fmt: skip


def sent(chance: Generator, path: str, version: str) -> bytes:
    """Return the body of a request to `path`."""
    if path == "analyze":
        return inputs.body(chance, analysis(chance), chance.choice((0.0, 0.05, 0.5)))
    if path == "presets":
        return inputs.body(chance, {"text": inputs.file(chance), "version": version})
    return inputs.body(chance, {"tag": f"<lora:{LORA}:1:lbw={inputs.weights(chance)}>", "seed": 3})


def head(chance: Generator) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request: what a program sends, a few of them changed."""
    headers = {b"host": b"127.0.0.1:7860", b"content-type": b"application/json"}
    for name, right in ((b"host", b"localhost"), (b"origin", b"http://127.0.0.1:7860")):
        if chance.random() < 0.1:
            headers[name] = chance.choice((right, b"[::1", b"http://[", b"null", raw(chance)))
    if chance.random() < 0.1:
        names = (b"content-type", b"content-length", b"authorization", b"cookie", b"accept-encoding", b"if-none-match")
        headers[chance.choice(names)] = chance.choice((raw(chance), b"9" * 5_000, b"-1", b"Basic \xff"))
    return list(headers.items())


def ask(chance: Generator) -> None:
    """Send one request and check the answer."""
    from lbw.files.atomic import version

    made = server()
    made.reset()
    method, path, query = address(chance)
    mark = version(made.folder / "presets" / "lbwpresets.txt")
    where = f"/lbw/v1/{path}" if chance.random() < 0.98 else f"/{escaped(chance)}"
    body = sent(chance, path, mark) if method in ("POST", "PUT") else b""
    status, headers, answer = made.ask(method, where.encode(), query.encode(), head(chance), body)
    told = answer.decode("utf-8")
    assert status < 500, (status, told[:500])
    kind = headers.get(b"content-type", b"")
    if 200 <= status < 300 and method != "HEAD":
        json.loads(told)
    if status >= 400 and method != "HEAD":
        if status != 403:  # the answer to a page of another site, given before the routes
            assert kind == b"application/json"
            told = json.dumps(json.loads(told)["detail"])
        assert 10 < len(told) <= MOST_SAID, (status, len(told), told[:500])
    for session in made.started:
        check(session)


def check(session: Any) -> None:
    """Check that an analysis that was accepted is one that can be rendered."""
    asked, settings = session.request, session.settings
    assert -1 <= asked.seed <= limits.SEED
    assert 1 <= asked.steps <= limits.STEPS
    assert all(8 <= side <= limits.PICTURE_SIDE and side % 8 == 0 for side in (asked.width, asked.height))
    assert abs(asked.cfg_scale) <= limits.GUIDANCE
    assert 1 <= len(settings.seeds) <= limits.SEEDS
    assert all(abs(number) <= limits.WEIGHT for number in settings.span)
    assert 1 <= session.total <= limits.PICTURES
