"""The script, loaded between stand-ins for Gradio and the WebUI."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hosts.doubles_model import same

from lbw.webui.options import ARGUMENTS


class Component:
    """Any component of Gradio; remembers what it was made with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs

    def __enter__(self) -> Component:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the layout."""

    def click(self, **_: Any) -> None:
        """A button's event."""

    def change(self, *_: Any, **__: Any) -> None:
        """A field's event."""


class Option:
    """A setting of the WebUI."""

    def __init__(self, default: str, *_: Any) -> None:
        self.default = default

    def info(self, _: str) -> Option:
        return self


@pytest.fixture
def script(a1111: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the script, not started, its preset files in a folder of the test's own."""
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "lbw"}
    components = (
        "Accordion", "Button", "Checkbox", "Column", "Dropdown", "HTML", "Number", "Radio", "Row", "Textbox",
    )  # fmt: skip
    gradio = ModuleType("gradio")
    gradio.__dict__.update(dict.fromkeys(components, Component))
    modules = sys.modules["modules"]
    callbacks: dict[str, list[Any]] = {}
    names = (
        "after_component",
        "app_started",
        "before_ui",
        "cfg_denoiser",
        "infotext_pasted",
        "script_unloaded",
        "ui_tabs",
    )
    modules.script_callbacks = SimpleNamespace(
        called=callbacks, **{f"on_{name}": callbacks.setdefault(name, []).append for name in names}
    )
    modules.extra_networks = a1111.extra_networks
    runner = SimpleNamespace(scripts=[])
    modules.scripts = SimpleNamespace(
        Script=object, AlwaysVisible="always", scripts_txt2img=runner, scripts_img2img=runner
    )
    modules.shared.OptionInfo = Option
    modules.shared.options_templates = {}
    modules.shared.opts.data = {}
    modules.shared.options_section = lambda section, options: options
    modules.images, modules.processing = SimpleNamespace(), a1111.processing
    modules.ui_extra_networks = SimpleNamespace(extra_pages=[])
    modules.call_queue, modules.sd_samplers = SimpleNamespace(), SimpleNamespace(samplers=[])
    for name in ("sd_samplers_cfg_denoiser", "sd_samplers_common", "sd_samplers_timesteps"):
        setattr(modules, name, SimpleNamespace())
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    sys.modules.pop("lbw.webui.script", None)
    loaded = importlib.import_module("lbw.webui.script")
    monkeypatch.setattr(loaded, "store", type(loaded.store)(tmp_path / "user"))
    loaded.hook.store = loaded.store
    a1111.hook.uninstall()
    yield loaded
    loaded.hook.uninstall()
    for name in [name for name in sys.modules if name.split(".")[0] == "lbw"]:
        del sys.modules[name]
    sys.modules.update(kept)
    sys.modules.pop("lbw.webui.script", None)


def test_the_script_stands_always_visible_under_the_predecessors_title(script: Any) -> None:
    ours = script.BlockWeightScript()
    assert (ours.title(), ours.show(False), ours.show(True)) == ("LoRA Block Weight", "always", "always")


@pytest.mark.parametrize("is_img2img", [False, True])
def test_its_arguments_are_nineteen_and_none_is_saved_with_the_interface(script: Any, is_img2img: bool) -> None:
    components = script.BlockWeightScript().ui(is_img2img)
    assert len(components) == 19
    assert [component.kwargs.get("visible", True) for component in components] == [i == 1 for i in range(19)]
    assert all(component.do_not_save_to_config for component in components)
    assert components[1].kwargs.get("value", components[1].args[:1]) in (True, (True,))
    tab = "img2img" if is_img2img else "txt2img"
    assert all(component.kwargs["elem_id"].startswith(f"lbw_{tab}") for component in components)


def paint(world: Any, script: Any, prompt: str, *arguments: Any, scripts: Any = None) -> Any:
    """Paint as the WebUI does with the always-on script given `arguments`."""
    world.hook = script.hook
    world.call_script = lambda p, _: script.BlockWeightScript().process(p, *arguments)
    return world.paint(prompt, scripts=scripts)


def test_started_it_works_and_stopped_it_is_gone(script: Any, a1111: Any, tmp_path: Path) -> None:
    plain, base = a1111.paint("<lora:a:1>").weights, a1111.paint("").weights
    original = a1111.extra_networks.activate
    script.start()
    assert (tmp_path / "user" / "lbwpresets.txt").exists()
    shared = sys.modules["modules"].shared
    assert shared.opts.data == {
        "lbw_on_invalid": "warn",
        "lbw_with_predecessor": "this extension",
        "lbw_panel": True,
    }
    assert shared.options_templates.keys() == shared.opts.data.keys()
    defaults = [default for _, default in ARGUMENTS]
    assert same(paint(a1111, script, "<lora:a:1:lbw=NONE>", *defaults).weights, base)
    mine = paint(a1111, script, "<lora:a:1:lbw=MINE>", "MINE:0", *defaults[1:])
    assert same(mine.weights, base)
    off = paint(a1111, script, "<lora:a:1:lbw=NONE>", "", False)
    assert same(off.weights, plain)
    (unloaded,) = sys.modules["modules"].script_callbacks.called["script_unloaded"]
    unloaded()
    assert a1111.extra_networks.activate == original
    assert [name for name in sys.modules if name.split(".")[0] == "lbw"] == []


def test_it_adds_its_routes_to_the_server_and_block_weights_to_the_cards(script: Any) -> None:
    fastapi = pytest.importorskip("fastapi")
    script.start()
    modules = sys.modules["modules"]

    class Page:
        name = "lora"

        def create_item(self, name: str) -> dict[str, Any]:
            return {"prompt": '"<lora:a:" + 1 + ">"', "user_metadata": {"lbw weights": "MIDD"}}

    page = Page()
    modules.ui_extra_networks = SimpleNamespace(extra_pages=[])
    modules.shared.cmd_opts = SimpleNamespace(api_auth="ann:secret")
    app = fastapi.FastAPI()
    for callback in modules.script_callbacks.called["app_started"]:
        callback(None, app)
    assert "/lbw/v1/explain" in {route.path for route in app.routes}
    for callback in modules.script_callbacks.called["before_ui"]:
        callback()
    modules.ui_extra_networks.extra_pages.append(page)  # the host's own extension may make it after all others
    for is_img2img in (False, True):
        script.BlockWeightScript().ui(is_img2img)
    assert page.create_item("a")["prompt"] == '"<lora:a:" + 1 + ":lbw=MIDD>"'
    script.stop()
    assert "create_item" not in vars(page)


def test_messages_stand_in_the_answer(script: Any, a1111: Any) -> None:
    script.start()
    p = paint(a1111, script, "<lora:a:1:lbw=NOPE>").p
    processed = SimpleNamespace(extra_generation_params={})
    script.BlockWeightScript().postprocess(p, processed)
    assert '"NOPE"' in processed.extra_generation_params["LBW warnings"]


def test_where_the_predecessor_is_in_charge_it_does_nothing(script: Any, a1111: Any) -> None:
    script.start()
    runner = SimpleNamespace(scripts=[SimpleNamespace(filename="/e/scripts/lora_block_weight.py")])
    assert paint(a1111, script, "<lora:a:1:lbw=NOPE>", scripts=runner).p.comments != []
    a1111.opts.lbw_with_predecessor = "the other extension"
    assert paint(a1111, script, "<lora:a:1:lbw=NOPE>", scripts=runner).p.comments == []
