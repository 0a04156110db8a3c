"""An unknown WebUI: people are told where they look, and what needs no host still works."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest_plugins = ["webui.test_script"]
NOTICE = "Block weights have no effect on this WebUI:"


@pytest.fixture
def unknown(script: Any, a1111: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script in a WebUI with an unknown LoRA extension."""
    monkeypatch.setitem(sys.modules, "networks", SimpleNamespace(load_everything=None))
    paths = SimpleNamespace(script_path="/home/ann/strange-webui", models_path=str(tmp_path))
    monkeypatch.setitem(sys.modules, "modules.paths_internal", paths)
    monkeypatch.setitem(sys.modules, "modules.launch_utils", SimpleNamespace(git_tag=lambda: "v3.1"))
    sys.modules["modules.shared"].cmd_opts = SimpleNamespace(lora_dir=str(tmp_path))
    return script


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What is made of the stand-in for Gradio's components: kind and component, in order."""
    gradio = sys.modules["gradio"]
    components: list[tuple[str, Any]] = []

    def recording(kind: str, original: Any) -> Any:
        def make(*args: Any, **kwargs: Any) -> Any:
            components.append((kind, original(*args, **kwargs)))
            return components[-1][1]

        return make

    for kind in ("Accordion", "HTML"):
        monkeypatch.setattr(gradio, kind, recording(kind, getattr(gradio, kind)))
    return components


def text_of(component: Any) -> str:
    return str(component.kwargs.get("value", component.args[0] if component.args else ""))


@pytest.mark.parametrize("is_img2img", [False, True])
def test_the_accordion_is_open_and_names_the_webui_and_what_to_do(
    unknown: Any, made: list[tuple[str, Any]], is_img2img: bool
) -> None:
    unknown.BlockWeightScript().ui(is_img2img)
    (_, accordion), (_, notice), *_ = made
    assert accordion.kwargs["open"] is True
    assert all(words in text_of(notice) for words in (NOTICE, "strange-webui v3.1", "update", 'role="alert"'))


def test_the_accordion_of_a_known_webui_is_closed_and_says_nothing_of_it(
    script: Any, a1111: Any, made: list[tuple[str, Any]]
) -> None:
    script.BlockWeightScript().ui(False)
    assert made[0][1].kwargs["open"] is False
    assert not any(NOTICE in text_of(component) for _, component in made)


def test_where_the_webuis_own_extension_for_loras_is_missing_it_says_to_enable_it(
    unknown: Any, made: list[tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "networks")
    unknown.BlockWeightScript().ui(False)
    assert "Enable it under Extensions" in text_of(made[1][1])
    assert "strange-webui v3.1" in text_of(made[1][1])


@pytest.mark.parametrize(
    ("modules", "name"),
    [
        ({"modules_forge.forge_version": SimpleNamespace(version="neo", release="3.4")}, "Forge Neo 3.4"),
        ({"modules_forge.forge_version": SimpleNamespace(version="f9.9")}, "Forge f9.9"),
        ({"modules.launch_utils": SimpleNamespace(git_tag=lambda: "<none>")}, "strange-webui"),
        ({"modules.launch_utils": SimpleNamespace()}, "strange-webui"),
        ({"modules.paths_internal": SimpleNamespace()}, "this WebUI v3.1"),
    ],
)
def test_a_webui_is_named_as_far_as_it_tells(
    unknown: Any, modules: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, value in modules.items():
        monkeypatch.setitem(sys.modules, module, value)
    assert unknown.hook.unknown() == name


def test_loras_are_found_in_the_webuis_folders(unknown: Any, tmp_path: Path) -> None:
    deeper = tmp_path / "more"
    deeper.mkdir()
    (deeper / "deep.safetensors").write_bytes(b"")
    (deeper / "notes.txt").write_bytes(b"")
    sys.modules["modules.shared"].cmd_opts = SimpleNamespace(lora_dir=str(tmp_path), lora_dirs=[str(deeper)])
    assert {"a", "b", "deep"} <= set(unknown.hook.lora_files())
    assert "notes" not in unknown.hook.lora_files()
    assert unknown.hook.find("deep") == str(deeper / "deep.safetensors")
    assert unknown.hook.find("../more/deep") is None
    sys.modules["modules.shared"].cmd_opts = None
    assert unknown.hook.lora_files() == {}


def test_the_panel_at_a_tag_and_the_explanation_of_a_tag_work(unknown: Any) -> None:
    fastapi = pytest.importorskip("fastapi")
    client = pytest.importorskip("fastapi.testclient").TestClient
    from lbw.api import routes

    app = fastapi.FastAPI()
    app.auth = None
    app.get("/user")(lambda: None)
    routes.add_routes(app, unknown.hook, None)
    asked = client(app)
    assert {"a", "unet"} <= {entry["name"] for entry in asked.get("/lbw/v1/loras").json()}
    assert asked.get("/lbw/v1/loras/a").json()["title"] == "SD 1.x"
    explained = asked.post("/lbw/v1/explain", json={"tag": "<lora:a:1:lbw=0,IN04=0.5>"}).json()
    assert explained["blocks"]["IN04"] == 0.5
    assert explained["modules"]["IN04"] > 0


def test_the_message_under_the_picture_names_the_webui(unknown: Any, a1111: Any) -> None:
    a1111.hook = unknown.hook
    unknown.hook.install(a1111.extra_networks, a1111.processing)
    comments = a1111.paint("<lora:a:1:lbw=MIDD><lora:b:1>").p.comments
    assert comments == [
        'LoRA Block Weight: LoRA "a" is applied without block weights: strange-webui v3.1 is not a known WebUI'
    ]


@pytest.fixture
def tab(a1111: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tab's class, in the double of AUTOMATIC1111 with Gradio itself."""
    pytest.importorskip("gradio")
    names = ("call_queue", "images", "processing", "scripts")
    samplers = ("sd_samplers_cfg_denoiser", "sd_samplers_common", "sd_samplers_timesteps")
    for name in (*names, *samplers):
        monkeypatch.setattr(sys.modules["modules"], name, SimpleNamespace(), raising=False)
    monkeypatch.setattr(sys.modules["modules"], "sd_samplers", SimpleNamespace(samplers=[]), raising=False)
    from lbw.webui.tab import Tab

    return Tab


def notices(tab: Any, hook: Any) -> list[str]:
    """Return what the tab says about the host."""
    from lbw.analysis.sessions import Sessions
    from lbw.webui.panel_host import PanelHost

    ((page, _, _),) = tab(Sessions(PanelHost(hook)), {}).build()
    return [str(part.value) for part in page.blocks.values() if getattr(part, "elem_id", None) == "lbw_notice"]


def test_the_tab_names_a_webui_that_is_not_known_and_what_to_do(
    tab: Any, a1111: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert notices(tab, a1111.hook) == []
    a1111.hook.uninstall()
    monkeypatch.setitem(sys.modules, "networks", SimpleNamespace())
    strange = SimpleNamespace(version="f9.9")
    monkeypatch.setitem(sys.modules, "modules_forge.forge_version", strange)
    (notice,) = notices(tab, a1111.hook)
    assert all(words in notice for words in (NOTICE, "Forge f9.9", "update"))
