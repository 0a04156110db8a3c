"""A page with prompt boxes as the hosts' Gradio makes them, and a stub of the API behind it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lbw.core.architectures import ARCHITECTURES, by_name
from lbw.core.family import Architecture
from lbw.core.fitting import fitting_architectures
from lbw.core.plan import resolve_request
from lbw.core.shape import shape
from lbw.core.tag import parse_tag
from lbw.files.explain import problems_without_file

FLUX = ARCHITECTURES["flux"]
SD1 = ARCHITECTURES["sd1"]
SDXL = ARCHITECTURES["sdxl"]

ROOT = Path(__file__).parents[2]
ATTACK = "<img src=x onerror=window.attacked=1>"
SCRIPTS = sorted(path.name for path in (ROOT / "javascript").glob("*.js"))
PRESETS = {
    "NONE": ",".join("0" * 17),
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "XL-STYLE": "0,OUT01=1,IN08=1",
    "HALF": "0.5",
    "FLUXD": "0,D00-D18=1",
    ATTACK: "0",
    "a, b": "0.25",
}
LORAS = {
    "subject": SDXL, "old": SD1, "flux": FLUX, "<img src=x onerror=window.attacked=1": SDXL,
    "qwen": ARCHITECTURES["qwen-image"], "z": ARCHITECTURES["z-image"], "guess": by_name("unknown:B24"),
}  # fmt: skip

# The elements around a textarea in Gradio 3.41 and in 4.40.
GRADIO = {
    "3.41": '<div id="{id}" class="block gradio-textbox prompt svelte-90oupt padded"><label class="svelte-1f354aw '
    'container"><span data-testid="block-info" class="svelte-1gfkn6j sr-only hide">{id}</span>'
    '<textarea data-testid="textbox" class="scroll-hide svelte-1f354aw" dir="ltr" rows="3"></textarea></label></div>',
    "4.40": '<div id="{id}" class="block prompt svelte-12cmxck padded"><label class="svelte-173056l container '
    'show_textbox_border"><span data-testid="block-info" class="svelte-1gfkn6j sr-only hide">{id}</span>'
    '<div class="input-container svelte-173056l"><textarea data-testid="textbox" class="scroll-hide svelte-173056l" '
    'dir="ltr" rows="3"></textarea></div></label></div>',
}
ORDER = {"3.41": 1, "4.40": -1}  # of the scripts: it must not matter
BOXES = ("txt2img_prompt", "txt2img_neg_prompt", "hires_prompt", "hires_neg_prompt", "img2img_prompt")

THEME = """
:root { --body-text-color: #1f2937; --body-text-color-subdued: #6b7280; --background-fill-primary: white;
  --background-fill-secondary: #f9fafb; --border-color-primary: #e5e7eb; --input-background-fill: white;
  --color-accent: #f97316; --radius-lg: 8px; --radius-sm: 4px; --button-secondary-background-fill: #f3f4f6; }
.dark { --body-text-color: #f3f4f6; --body-text-color-subdued: #9ca3af; --background-fill-primary: #0b0f19;
  --background-fill-secondary: #1f2937; --border-color-primary: #374151; --input-background-fill: #1f2937;
  --button-secondary-background-fill: #374151; }
body { margin: 8px; background: var(--background-fill-primary); color: var(--body-text-color);
  font-family: sans-serif; }
textarea { width: 100%; box-sizing: border-box; font: 14px/1.5 sans-serif; padding: 10px; color: inherit;
  background: var(--input-background-fill); border: 1px solid var(--border-color-primary); resize: vertical; }
.gap { height: 260px; } .hide { display: none; }
.autocompleteResults { display: none; position: absolute; }
"""

# Gradio tracks a textarea's text by listening to `input`, and writes it back. The hosts count the prompt's tokens a
# while after each change: a script of theirs clicks a button.
SCRIPT = """
window.kept = {};
window.counted = 0;
const counter = document.querySelector("#token_button");
counter.addEventListener("click", () => window.counted++);
let countSoon = 0;
for (const area of document.querySelectorAll("textarea")) {
  area.addEventListener("input", (event) => {
    window.kept[area.closest("[id]").id] = area.value;
    area.value = area.value;
    if (event.inputType) (window.typed ??= []).push(event.inputType);
    clearTimeout(countSoon);
    countSoon = setTimeout(() => counter.click(), 300);
  });
}
"""


def page(gradio: str, dark: bool) -> str:
    """Return the page with the boxes of that Gradio."""
    boxes = '<div class="gap"></div>'.join(GRADIO[gradio].format(id=name) for name in BOXES)
    scripts = "".join(f'<script src="javascript/{name}"></script>' for name in SCRIPTS[:: ORDER[gradio]])
    return (
        f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<style>{THEME}</style>"
        f'<link rel="stylesheet" href="style.css"><body class="{"dark" if dark else ""}"><gradio-app>{boxes}'
        '<button id="token_button">Count</button><div class="autocompleteResults">completions</div></gradio-app>'
        f"<script>{SCRIPT}</script>{scripts}"
    )


def lora(name: str, more: dict[str, str]) -> dict[str, Any]:
    """Return the API's answer about a LoRA."""
    architecture = LORAS[name]
    presets = {**PRESETS, **more}
    skipped = {"IN00", "IN01"}
    return {
        "name": name,
        "architecture": architecture.name,
        "title": architecture.title,
        "kinds": ["lora"],
        "blocks": architecture.blocks,
        "touched": [block for block in architecture.blocks if block not in skipped],
        "shape": shape(architecture),
        "layouts": {str(count): blocks for count, blocks in architecture.layouts.items()},
        "unlisted": {str(count): weight for count, weight in architecture.unlisted.items()},
        "presets": [key for key, text in presets.items() if text == "0.5" or fits(text, presets, architecture)],
    }


def fits(text: str, presets: dict[str, str], architecture: Architecture) -> bool:
    return architecture in fitting_architectures(text, presets)


def explain(tag: str) -> tuple[dict[str, Any], int]:
    """Return the API's answer about a tag, and its status."""
    request = parse_tag(tag, PRESETS)
    if request.name not in LORAS:
        return {"detail": missing(request.name), "problems": problems_without_file(request, PRESETS, {})}, 404
    resolved = resolve_request(request, LORAS[request.name], PRESETS, {}, 0)
    return {"blocks": dict(resolved.weights.blocks), "problems": [str(problem) for problem in resolved.problems]}, 200


def missing(name: str) -> str:
    return f'LoRA "{name}" was not found'


class Site(ThreadingHTTPServer):
    """The page and the API; `gradio`, `dark`, `more` presets and `broken` are set by a test."""

    gradio = "3.41"
    dark = False
    broken = False
    more: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self, content: str | bytes, kind: str = "application/json", status: int = 200) -> None:
        content = content.encode() if isinstance(content, str) else content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        path = unquote(self.path.split("?")[0])
        name = path.removeprefix("/lbw/v1/loras/")
        if path == "/":
            self.answer(page(self.server.gradio, self.server.dark), "text/html")
        elif path.startswith("/javascript/"):
            self.answer((ROOT / path[1:]).read_bytes(), "text/javascript")
        elif path == "/style.css":
            self.answer((ROOT / "style.css").read_bytes(), "text/css")
        elif self.server.broken:
            self.close_connection = True
        elif name != path and name in LORAS:
            self.answer(json.dumps(lora(name, self.server.more)))
        else:
            self.answer(json.dumps({"detail": missing(name)}), status=404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.broken:
            self.close_connection = True
        else:
            content, status = explain(body["tag"])
            self.answer(json.dumps(content), status=status)


@contextmanager
def site() -> Iterator[Site]:
    """A running server of the page."""
    server = Site(("127.0.0.1", 0), Handler)
    server.more = {}
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
