"""The buttons that take the fields of the WebUI's own tabs into a panel."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

from lbw.webui.page import FIELDS  # noqa: E402


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`lbw.webui.tab`, beside a host that is no WebUI."""
    host = ModuleType("lbw.webui.panel_host")
    host.PanelHost = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lbw.webui.panel_host", host)
    yield importlib.import_module("lbw.webui.tab")
    sys.modules.pop("lbw.webui.tab", None)


@pytest.fixture
def theirs() -> dict[str, Any]:
    """The fields of a WebUI's txt2img."""
    with gr.Blocks():
        fields = {f"txt2img_{name}": gr.Textbox() for name in FIELDS.values()}
        return {**fields, "generation_info_txt2img": gr.Textbox()}


def taken(tab: ModuleType, theirs: dict[str, Any], held: dict[str, Any]) -> dict[str, Any]:
    """Return what a panel's fields become at *Take from txt2img*, by their options; held: what `theirs` hold."""
    host = SimpleNamespace(hook=SimpleNamespace(store=None))
    with gr.Blocks() as page:
        mine = {option: gr.Textbox() for option in FIELDS}
        button = gr.Button()
        tab.Tab(SimpleNamespace(host=host), theirs)._connect({"txt2img": button}, mine, -1)
    event = next(iter(page.fns.values()))
    updates = event.fn({control: held.get(name, f"the {name}") for name, control in theirs.items()})
    assert set(event.outputs) == set(updates)
    return {option: updates[field] for option, field in mine.items() if field in updates}


def test_each_field_takes_what_the_webuis_own_holds(tab: ModuleType, theirs: dict[str, Any]) -> None:
    assert taken(tab, theirs, {}) == {
        "prompt": "the txt2img_prompt", "negative_prompt": "the txt2img_neg_prompt", "seed": "the txt2img_seed",
        "steps": "the txt2img_steps", "width": "the txt2img_width", "height": "the txt2img_height",
        "cfg_scale": "the txt2img_cfg_scale", "sampler_name": "the txt2img_sampling",
    }  # fmt: skip


@pytest.mark.parametrize("random", [-1, -1.0, "-1", ""])
@pytest.mark.parametrize(("info", "seed"), [('{"seed": 4}', 4), ("", -1), ("{}", -1), ("[", -1), (None, -1)])
def test_a_random_seed_is_that_of_the_last_picture(
    tab: ModuleType, theirs: dict[str, Any], random: Any, info: str | None, seed: int
) -> None:
    held = {"txt2img_seed": random, "generation_info_txt2img": info}
    assert taken(tab, theirs, held)["seed"] == seed


def test_what_a_webui_does_not_have_stays_as_it_is(tab: ModuleType, theirs: dict[str, Any]) -> None:
    few = {name: theirs[name] for name in ("txt2img_steps", "txt2img_seed")}
    assert taken(tab, few, {"txt2img_seed": 7, "txt2img_steps": 20}) == {"seed": 7, "steps": 20}
    assert taken(tab, few, {"txt2img_seed": -1, "txt2img_steps": 20}) == {"seed": -1, "steps": 20}
