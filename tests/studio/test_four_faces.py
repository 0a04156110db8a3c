"""One request through the command line, the API, the page and the WebUI's script: the same figures, pictures, files.

All four are on the standalone host with the bundled model. The script stands between stand-ins for the WebUI, and
conducts its session on the same host; everything else of it is as in a WebUI.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("diffusers")
pytest.importorskip("gradio")
pytest.importorskip("fastapi.testclient")

import gradio as gr
from fastapi.testclient import TestClient

from lbw.analysis.request import AnalysisRequest
from lbw.analysis.sessions import Sessions
from lbw.studio import analyze
from lbw.studio.cli import main
from lbw.studio.host import StudioHost
from lbw.studio.page import build
from lbw.studio.renderer import PictureRenderer
from lbw.studio.server import head
from lbw.studio.store import StudioPresets
from lbw.ui.analyze import analyze_panel
from lbw.ui.analyze_controls import MODES
from lbw.ui.presets import presets_panel
from lbw.ui.tuner import tuner_panel

PROMPT = "a large red star on a white background, flat style <lora:planted:1:lbw=XYZ>"
PICTURE = {
    "prompt": PROMPT, "negative_prompt": "blue", "seed": 3, "steps": 2, "width": 64, "height": 64, "cfg_scale": 4.0,
}  # fmt: skip
ANALYSES = {
    "two seeds in a rectangle": {
        "range": "0.25,1", "blocks": "IN05,OUT03-OUT04", "seeds": 2, "threshold": 7, "diff_color": "white",
        "swap_axes": True, "region": "0,0,50,100",
    },
    "all blocks, as they are by default": {},
    "two prompts, which the script does not take": {"blocks": "OUT04", "more_prompts": ["a small blue circle"]},
}  # fmt: skip


@dataclass
class Place:
    """Where a face writes: results in `out`, cells in `cells`."""

    folder: Path
    maker: PictureRenderer

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def cells(self) -> Path:
        return self.folder / "cells"

    def host(self) -> StudioHost:
        return StudioHost(lambda: self.maker, True, self.out, self.cells)


# The faces ---------------------------------------------------------------------------------------


def by_command_line(place: Place, asked: dict[str, Any]) -> None:
    options = AnalysisRequest.options()
    arguments = ["--size", f"{asked['width']}x{asked['height']}"]
    for name, value in asked.items():
        if options[name].type == "bool":
            arguments += [options[name].flag] * value
        elif options[name].flag:
            arguments += [options[name].flag, *(value if isinstance(value, list) else [str(value)])]
    assert main(["analyze", asked["prompt"], *arguments, "-o", str(place.out)]) == 0
    (place.out / "cells").rename(place.cells)


def by_api(place: Place, asked: dict[str, Any]) -> None:
    store = StudioPresets(place.folder / "presets")
    app = build(place.maker, True, store, head(None), place.out, place.cells)
    client = TestClient(app, base_url="http://127.0.0.1:7870")
    started = client.post("/lbw/v1/analyze", json=asked)
    assert started.status_code == 200, started.text
    path = f"/lbw/v1/analyze/{started.json()['id']}"
    wait_for(lambda: client.get(path).json()["state"] not in ("waiting", "running"))
    state = client.get(path).json()
    assert state["state"] == "done"
    told = client.get(f"{path}/result").json()
    assert told == json.loads((place.out / state["id"] / "analysis.json").read_text(encoding="utf-8"))


def by_page(place: Place, asked: dict[str, Any]) -> None:
    host, store = place.host(), StudioPresets(place.folder / "presets")
    with gr.Blocks():
        presets = presets_panel(store)
        panel = analyze_panel(host, Sessions(host), presets, tuner_panel(host, store, presets))
    first = AnalysisRequest(**vars(host.defaults()))
    modes = {mode: label for label, mode in MODES.items()}
    given = {**first.plain(), **asked}
    values: dict[Any, Any] = {control: given[name] for name, control in panel.fields.items()}
    values |= {panel.mode: modes[first.mode], panel.more_prompts: "\n".join(given["more_prompts"])}
    values |= {panel.sampler: None, panel.painted: ""}
    values |= {panel.is_masked: "region" in asked, panel.shown_source: None}
    shown = list(panel._analyze(values))
    last = next(updates for updates in reversed(shown) if panel.folder in updates)
    assert last[panel.folder].startswith(str(place.out))


def by_script(place: Place, asked: dict[str, Any], webui: Any) -> None:
    def host_of(p: Any, hook: Any, options: Any, own_arguments: range) -> StudioHost:
        return place.host()

    webui.ScriptHost = host_of
    option = AnalysisRequest.options()
    given = {name: asked.get(name, option[name].default) for name in option}
    arguments = ["", True, 2, *[""] * 6]
    arguments += [given[name] for name in ("range", "blocks", "seeds", "diff_color", "threshold", "swap_axes")]
    p = Processing(
        **{name: given[name] for name in PICTURE}, sampler_name="", styles=[], extra_generation_params={},
        do_not_save_grid=False, outpath_grids=str(place.out), batch_size=1, n_iter=1,
    )  # fmt: skip
    processed = webui.conduct(p, None, [*arguments, "", ""], range(20, 37), given["region"])
    (folder,) = place.out.iterdir()
    told = json.loads(processed.extra_generation_params["LBW analysis"])
    assert told == json.loads((folder / "analysis.json").read_text(encoding="utf-8"))
    for image in processed.images:
        with Image.open(image.already_saved_as) as saved:
            assert np.array_equal(np.asarray(saved.convert("RGB")), np.asarray(image.convert("RGB")))


class Processing(SimpleNamespace):
    """`StableDiffusionProcessing`, of which there may be weak references."""


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The WebUI's script, loaded with stand-ins for what it imports of the WebUI."""

    class Processed:
        def __init__(self, p: Any, images: list[Any], seed: int, info: str, infotexts: list[str]) -> None:
            self.images, self.extra_generation_params = images, {}

    modules: Any = ModuleType("modules")
    modules.processing = SimpleNamespace(Processed=Processed, fix_seed=lambda p: None)
    modules.scripts = SimpleNamespace(Script=object)
    modules.shared = SimpleNamespace(
        state=SimpleNamespace(interrupted=False, job_count=0), total_tqdm=SimpleNamespace(updateTotal=lambda n: None)
    )
    monkeypatch.setitem(sys.modules, "modules", modules)
    ours = ("lbw.webui.analyzer", "lbw.webui.cells", "lbw.webui.prepare")
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(ours[0])
    for name in ours:
        sys.modules.pop(name, None)


# What they wrote ---------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert condition()


def written(place: Place) -> dict[str, Any]:
    """Return what the one run of a face wrote: figures, tables, pictures bit for bit, and the cells."""
    (folder,) = place.out.iterdir()
    assert folder.name.endswith("-planted-seed3")
    found: dict[str, Any] = {path.name: content(path) for path in folder.iterdir()}
    return {**found, "cells": sorted(content(path) for path in place.cells.rglob("*.png"))}


def content(path: Path) -> Any:
    if path.suffix == ".png":
        with Image.open(path) as image:
            return image.size, image.convert("RGB").tobytes(), image.info.get("parameters", "")
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


@pytest.mark.parametrize("analysis", ANALYSES)
def test_four_faces_write_the_same_figures_pictures_and_files(
    analysis: str, maker: PictureRenderer, webui: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {**PICTURE, **ANALYSES[analysis]}
    monkeypatch.setattr(analyze, "renderer", lambda options: maker)
    faces: dict[str, Callable[[Place, dict[str, Any]], None]] = {
        "command line": by_command_line,
        "API": by_api,
        "page": by_page,
    }
    if "more_prompts" not in asked:
        faces["script"] = lambda place, given: by_script(place, given, webui)
    found = {}
    for name, ask in faces.items():
        place = Place(tmp_path / name, maker)
        (place.folder / "presets").mkdir(parents=True)
        ask(place, asked)
        found[name] = written(place)
    first = found["command line"]
    seeds = AnalysisRequest(**asked).seeds
    more = {"grid-seed4.png"} if seeds == 2 else {"grid-prompt2-seed3.png"} if "more_prompts" in asked else set()
    assert set(first) == {"analysis.json", "analysis.csv", "chart.png", "grid.png", "cells", *more}
    sources = seeds * (1 + len(asked.get("more_prompts", ())))
    blocks = first["analysis.json"]["blocks"]
    assert len(first["cells"]) == first["analysis.json"]["rendered"] == sources * (1 + len(blocks))
    assert max(entry["mean"] for entry in blocks) > 0
    for name, other in found.items():
        assert set(other) == set(first), name
        for file, value in first.items():
            assert other[file] == value, f"{name}: {file}"
