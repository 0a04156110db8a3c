"""The selectable script and the axes of the X/Y/Z plot, between stand-ins for the WebUI."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lbw.analysis import sheet
from lbw.analysis.measure import heat_map
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import FileError, HostError, LbwError, TagError, WeightsError
from lbw.core.weights import parse_block_weights
from lbw.webui import generation
from lbw.webui.page import Page

from .test_script import Component

SD1 = ARCHITECTURES["sd1"]

SIZE = 32
TAG = "a cat <lora:style:1:lbw=XYZ>"
STRENGTH = {"IN04": 60, "OUT03": 30}
"""By how many levels a block of the stand-in for a LoRA lightens the whole picture."""


class Hook:
    """The model's blocks, the LoRA's file, the presets."""

    def __init__(self, lora: Path) -> None:
        self.lora = lora
        self.host = SimpleNamespace(architecture=lambda: SD1)
        self.store = SimpleNamespace(presets=lambda: {"MIDD": ",".join(["1"] * 17)}, elements=lambda: {"XYZ": "::1"})

    def find(self, name: str) -> str | None:
        return str(self.lora) if name == "style" else None

    def architecture(self) -> Any:
        return SD1


class Webui:
    """A WebUI that paints a gray picture, lighter by what the blocks of the LoRA say."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(interrupted=False, skipped=False, job="", job_count=0)
        self.painted: list[tuple[int, str, str]] = []
        self.interrupt_after = 10**6

    def process_images(self, p: Any) -> Any:
        options = generation.of(p).options
        weights = parse_block_weights("XYZ").resolve(SD1, options.presets).blocks
        self.painted.append((p.seed, options.presets["XYZ"], options.elements.get("XYZ", "")))
        if len(self.painted) >= self.interrupt_after:
            self.state.interrupted = True
        level = 20 + p.seed + round(sum(STRENGTH[block] * weights[block] for block in STRENGTH))
        images = [Image.new("RGB", (SIZE, SIZE), (level,) * 3) for _ in range(p.batch_size)]
        texts = [f"{p.prompt}\nSteps: {p.steps}, Seed: {p.seed}"] * len(images)
        return SimpleNamespace(
            images=images, infotexts=texts, info=texts[0], index_of_first_image=0, all_prompts=[p.prompt] * len(images)
        )


class Processed:
    """The WebUI's result."""

    def __init__(self, p: Any, images: list[Any], seed: int, info: str, infotexts: list[str]) -> None:
        self.images, self.seed, self.info, self.infotexts = images, seed, info, infotexts
        self.extra_generation_params = p.extra_generation_params


@pytest.fixture
def webui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules under test, loaded with the stand-ins."""
    double = Webui()
    gradio = ModuleType("gradio")
    for name in ("Checkbox", "Column", "Dropdown", "HTML", "Number", "Radio", "Row", "Textbox"):
        setattr(gradio, name, Component)
    modules = ModuleType("modules")
    modules.processing = SimpleNamespace(
        process_images=double.process_images, Processed=Processed, fix_seed=lambda p: None
    )
    modules.scripts = SimpleNamespace(Script=object)
    modules.shared = SimpleNamespace(
        state=double.state,
        total_tqdm=SimpleNamespace(updateTotal=lambda n: None),
        opts=SimpleNamespace(data={"eta": 0}, grid_save=True),
        sd_model=None,
        prompt_styles=None,
    )
    for name, module in (("gradio", gradio), ("modules", modules)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("lbw.webui.analyzer", "lbw.webui.cells", "lbw.webui.prepare"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    double.analyzer = importlib.import_module("lbw.webui.analyzer")
    double.cells = sys.modules["lbw.webui.cells"]
    monkeypatch.setattr(double.cells, "CELLS", tmp_path / "cells")
    double.grids = tmp_path / "grids"
    double.grids.mkdir()
    double.hook = Hook(write_lora(tmp_path / "style.safetensors"))
    yield double
    for name in ("lbw.webui.analyzer", "lbw.webui.cells", "lbw.webui.prepare"):
        sys.modules.pop(name, None)


def write_lora(path: Path) -> Path:
    from safetensors.numpy import save_file

    tensors = {}
    for place in ("input_blocks_4_1", "output_blocks_3_1", "input_blocks_8_1"):
        module = f"lora_unet_{place}_transformer_blocks_0_attn2_to_k"
        tensors[f"{module}.lora_down.weight"] = np.zeros((2, 768), np.float16)
        tensors[f"{module}.lora_up.weight"] = np.zeros((8, 2), np.float16)
    save_file(tensors, path)
    return path


class Processing(SimpleNamespace):
    """`StableDiffusionProcessing`, of which there may be weak references."""


def request(webui: Any, **fields: Any) -> Any:
    values = {
        "prompt": TAG, "negative_prompt": "", "seed": 5, "subseed": 9, "subseed_strength": 0, "steps": 3,
        "cfg_scale": 5.0, "width": SIZE, "height": SIZE,
        "sampler_name": "Euler", "batch_size": 1, "n_iter": 1, "styles": [], "comments": {},
        "extra_generation_params": {}, "do_not_save_grid": False, "outpath_grids": str(webui.grids),
        "script_args": [0] * 40, "scripts": SimpleNamespace(alwayson_scripts=[]), **fields,
    }  # fmt: skip
    p = Processing(**values)
    p.comment = lambda text: p.comments.setdefault(text)
    return p


def run(webui: Any, *arguments: Any, **fields: Any) -> Any:
    script = webui.analyzer.AnalyzerScript()
    script.hook = webui.hook
    script.args_from, script.args_to = 20, 37
    return script.run(request(webui, **fields), *arguments)


def analysis(*more: Any, span: Any = "0,1", blocks: Any = "12ALL", seeds: Any = 1, threshold: Any = 20) -> list[Any]:
    return ["", True, 2, "", "", "", "", "", "", span, blocks, seeds, "black", threshold, False, "", "", *more]


def figures(processed: Any) -> Any:
    return json.loads(processed.extra_generation_params["LBW analysis"])


def test_seventeen_components_in_the_predecessors_order(webui: Any) -> None:
    script = webui.analyzer.AnalyzerScript()
    script.page = Page()
    components = script.ui(False)
    labels = [component.kwargs["label"] for component in components]
    assert len(labels) == 17
    assert labels[9:12] == ["Range", "Blocks", "number of seed"]
    assert labels[12:15] == ["diff image color", "difference threshold", "change X-Y"]
    assert (script.title(), script.show(False), script.show(True)) == ("LoRA Block Weight", True, True)


@pytest.mark.parametrize("more", [(), (False,)])  # the README's seventeen arguments, and today's eighteen
def test_percentages_grid_and_files(webui: Any, more: tuple[Any, ...]) -> None:
    found = figures(processed := run(webui, *analysis(*more)))
    percents = {entry["block"]: entry["percent"] for entry in found["blocks"]}
    expected = {block: [100.0 if STRENGTH.get(block, 0) > 20 else 0.0] for block in percents}
    assert percents == expected
    assert found["ranking"][:2] == ["IN04", "OUT03"]
    assert [seed for seed, _, _ in webui.painted] == [5] * 4  # the source, and three blocks with tensors
    assert len(processed.images) == 2
    assert processed.infotexts[0].endswith("Seed: 5")
    (folder,) = (webui.grids / "lora-block-weight").iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["analysis.csv", "analysis.json", "chart.png", "grid.png"]
    assert json.loads((folder / "analysis.json").read_text(encoding="utf-8"))["grid"] == "grid.png"
    assert (folder / "analysis.csv").read_text(encoding="utf-8").startswith("rank,block,seed 5,mean,std")
    assert [image.already_saved_as for image in processed.images] == [
        str(folder / n) for n in ("grid.png", "chart.png")
    ]
    with Image.open(folder / "grid.png") as saved:
        assert saved.info["parameters"] == processed.infotexts[0]


def test_without_grids_to_save_nothing_is_written(webui: Any) -> None:
    processed = run(webui, *analysis(), do_not_save_grid=True)
    assert len(processed.images) == 2
    assert list(webui.grids.iterdir()) == []


def test_two_runs_overwrite_nothing(webui: Any) -> None:
    run(webui, *analysis())
    run(webui, *analysis())
    first, second = sorted((webui.grids / "lora-block-weight").iterdir())
    assert len(list(first.iterdir())) == len(list(second.iterdir())) == 4


def test_seeds_of_a_batch_do_not_overlap(webui: Any) -> None:
    found = figures(run(webui, *analysis(blocks="IN04", seeds=2), batch_size=3))
    assert found["settings"]["seeds"] == [5, 8]


def test_the_same_settings_go_on_where_they_were_interrupted(webui: Any) -> None:
    webui.interrupt_after = 3
    stopped = run(webui, *analysis())
    assert "2 missing" in stopped.extra_generation_params["LBW warnings"]
    webui.interrupt_after, webui.state.interrupted = 10**6, False
    again = figures(run(webui, *analysis(threshold="25"), subseed=77))
    assert (again["reused"], again["rendered"]) == (2, 2)
    run(webui, *analysis(), cfg_scale=6.0)
    assert len(webui.painted) == 3 + 2 + 4


def test_an_interruption_while_the_grid_is_drawn_is_obeyed(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawing(*pictures: Any) -> Any:
        webui.state.interrupted = True
        return heat_map(*pictures)

    monkeypatch.setattr(sheet, "heat_map", drawing)
    answer = run(webui, *analysis())
    assert answer.images == []
    told = answer.extra_generation_params["LBW warnings"]
    assert "Stopped before all grids were drawn." in told
    assert "no picture was finished" not in told
    (folder,) = (webui.grids / "lora-block-weight").iterdir()
    assert json.loads((folder / "analysis.json").read_text(encoding="utf-8"))["state"] == "stopped"


def test_switched_off_it_leaves_the_generation_alone(webui: Any) -> None:
    assert run(webui, "", True, 0, *[""] * 14) is None
    assert run(webui, "", False, 2, *[""] * 14) is None
    assert webui.painted == []


@pytest.mark.parametrize(
    ("arguments", "fields", "error", "named"),
    [
        (analysis(), {"prompt": "a cat"}, TagError, "no tag with lbw=XYZ"),
        (analysis(), {"prompt": TAG + TAG}, TagError, "2 tags"),
        (analysis(), {"prompt": "<lora:gone:1:lbw=XYZ>"}, FileError, "gone"),
        (analysis(span="1"), {}, WeightsError, "Range"),
        (analysis(blocks="IN44"), {}, WeightsError, "Blocks"),
        (analysis(seeds=0), {}, WeightsError, "number of seed"),
        (analysis(threshold=300), {}, WeightsError, "difference threshold"),
        (["", True, 7, *[""] * 14], {}, WeightsError, "mode"),
    ],
)
def test_bad_input_is_told_before_anything_is_painted(
    webui: Any, arguments: list[Any], fields: dict[str, Any], error: type[LbwError], named: str
) -> None:
    with pytest.raises(error, match=named):
        run(webui, *arguments, **fields)
    assert webui.painted == []


def test_a_lora_for_another_model_is_told(webui: Any, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": np.zeros((4, 2))}, webui.hook.lora)
    with pytest.raises(HostError, match=r"Flux.1.*SD 1.x"):
        run(webui, *analysis())


def test_the_plot_of_the_readme(webui: Any) -> None:
    arguments = ["XYZ:" + ",".join(["1"] * 17), True, 1, "seed", "7,8", *[""] * 12]
    processed = run(webui, *arguments, prompt="a cat <lora:style:1:XYZ>")
    assert [seed for seed, _, _ in webui.painted] == [7, 8]
    assert len(processed.images) == 1


def test_elements_of_a_plot_come_after_the_preset_of_that_name(webui: Any) -> None:
    arguments = ["", True, 1, "elements", "IN04:attn:0,:proj:1", *[""] * 12]
    run(webui, *arguments, prompt="<lora:style:1:lbwe=XYZ>")
    assert [rules for _, _, rules in webui.painted] == ["::1,IN04:attn:0", "::1,:proj:1"]


def test_a_picture_in_the_settings_is_part_of_what_the_cells_follow_from(webui: Any) -> None:
    one, other = Image.new("RGB", (4, 4)), Image.new("RGB", (4, 4), (0, 0, 1))
    assert webui.cells.fingerprint([one]) == webui.cells.fingerprint([one.copy()])
    assert webui.cells.fingerprint([one]) != webui.cells.fingerprint([other])
    assert webui.cells.fingerprint({"unit": SimpleNamespace(image=one)}) != webui.cells.fingerprint(
        {"unit": SimpleNamespace(image=other)}
    )


# The axes of the X/Y/Z plot ----------------------------------------------------------------------


class AxisOption:
    """The plot's own."""

    def __init__(
        self, label: str, kind: Any, apply: Any, confirm: Any = None, choices: Any = None, prepare: Any = None
    ) -> None:
        self.label, self.type, self.apply = label, kind, apply
        self.confirm, self.choices, self.prepare = confirm, choices, prepare


@pytest.fixture
def axes(tmp_path: Path) -> dict[str, Any]:
    from lbw.webui.axes import Axes

    plot = SimpleNamespace(AxisOption=AxisOption, axis_options=[AxisOption("Nothing", str, None)])
    made = Axes(Hook(tmp_path / "none"))  # type: ignore[arg-type]
    for _ in range(2):
        made.install([SimpleNamespace(path="/webui/scripts/xyz_grid.py", module=plot)])
    labels = [option.label for option in plot.axis_options]
    assert labels == ["Nothing", *(f"[LBW] {n}" for n in ("preset", "weights", "block", "value", "start", "stop"))]
    found = {option.label.removeprefix("[LBW] "): option for option in plot.axis_options}
    made.uninstall()
    assert [option.label for option in plot.axis_options] == ["Nothing"]
    return found


def applied(axes: dict[str, Any], prompt: str, **values: str) -> str:
    p = SimpleNamespace(prompt=prompt, seed=1)
    for name, value in values.items():
        axes[name].apply(p, value, [])
    return p.prompt


def test_an_axis_changes_the_first_lora_or_a_named_one(axes: dict[str, Any]) -> None:
    prompt = "a <lora:one:0.7:lbw=NONE:x=2> b <lora:two:1>"
    assert applied(axes, prompt, preset="MIDD") == "a <lora:one:0.7:lbw=MIDD:x=2> b <lora:two:1>"
    assert applied(axes, prompt, preset="two:MIDD") == "a <lora:one:0.7:lbw=NONE:x=2> b <lora:two:1:lbw=MIDD>"
    assert applied(axes, prompt, weights="0,IN04=1", start="two:30%") == (
        "a <lora:one:0.7:lbw=0,IN04=1:x=2> b <lora:two:1:start=30%>"
    )


@pytest.mark.parametrize(
    "order", [("preset", "block", "value"), ("value", "block", "preset"), ("block", "preset", "value")]
)
def test_block_and_value_are_set_on_the_preset_in_any_order(axes: dict[str, Any], order: tuple[str, ...]) -> None:
    values = {"preset": "MIDD", "block": "IN04-IN05", "value": "0.25"}
    prompt = applied(axes, "<lora:one:1:lbw=XYZ>", **{name: values[name] for name in order})
    weights = prompt.partition("lbw=")[2].rstrip(">")
    found = parse_block_weights(weights).resolve(SD1, {}).blocks
    expected = parse_block_weights("MIDD,IN04-IN05=0.25").resolve(SD1, {"MIDD": ",".join(["1"] * 17)}).blocks
    assert found == expected


def test_numeric_axes_take_the_plots_ranges(axes: dict[str, Any]) -> None:
    assert axes["value"].prepare("0-1 (+0.25), two:0-1 [3]") == [
        "0",
        "0.25",
        "0.5",
        "0.75",
        "1",
        "two:0",
        "two:0.5",
        "two:1",
    ]
    assert axes["preset"].choices() == ["MIDD"]
    assert axes["block"].choices() == list(SD1.blocks)


@pytest.mark.parametrize(
    ("axis", "value", "named"),
    [
        ("preset", "MID", "did you mean"),
        ("weights", "1,2,3", "3 numbers"),
        ("block", "IN44", "IN44"),
        ("value", "much", "much"),
        ("start", "-3", "start=-3"),
        ("preset", "three:MIDD", "three"),
    ],
)
def test_a_wrong_value_is_told_before_the_plot_begins(axes: dict[str, Any], axis: str, value: str, named: str) -> None:
    with pytest.raises(RuntimeError, match=named):
        axes[axis].confirm(SimpleNamespace(prompt="<lora:one:1>", seed=1), [value])
