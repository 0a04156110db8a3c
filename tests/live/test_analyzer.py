"""The analyzer and the XYZ plot, beside pictures that are rendered one by one."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import PROMPT, Files
from .webui import DEFAULTS, SCRIPT_TITLE, Answer, RequestError, WebUI, decode, encode, same

pytestmark = pytest.mark.live


def analyzer(*, presets: str = "", span: str = "0,1", blocks: str = "auto", **more: Any) -> dict[str, Any]:
    """A request's part for the analyzer: the predecessor's seventeen arguments."""
    given = {"seeds": 1, "color": "black", "threshold": 20, "swap": False, "elements": "", **more}
    arguments = [presets, True, 2, "", "", "", "", "", "", span, blocks, given["seeds"], given["color"]]
    arguments += [given["threshold"], given["swap"], given["elements"], ""]
    assert len(arguments) == 17
    return {"script_name": SCRIPT_TITLE, "script_args": arguments}


def plot(x: tuple[str, str], y: tuple[str, str] = ("", ""), z: tuple[str, str] = ("", ""), presets: str = "") -> Any:
    return {"script_name": SCRIPT_TITLE, "script_args": [presets, True, 1, *x, *y, *z, *[""] * 8]}


def figures(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer.info["extra_generation_params"]["LBW analysis"])
    return found


def by_block(answer: Answer) -> dict[str, dict[str, Any]]:
    return {entry["block"]: entry for entry in figures(answer)["blocks"]}


def percent(source: list[np.ndarray], changed: list[np.ndarray], threshold: int = 20) -> float:
    """100·n / (width·height·3) of whole batches."""
    before, after = np.stack(source).astype(int), np.stack(changed).astype(int)
    return 100 * float((np.abs(before - after) > threshold).sum()) / before.size


def tag(name: str, weights: str) -> str:
    return f"{PROMPT} <lora:{name}:1:lbw={weights}>"


def test_each_percentage_is_that_of_pictures_rendered_alone(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    blocks = [places["text encoders and time"], places["going in"], places["last"]]
    name = files.mapped["ldm"]
    answer = webui.render(tag(name, "XYZ"), **analyzer(blocks=",".join(blocks), span="0.25,1", threshold=12))
    found = by_block(answer)
    assert list(found) == blocks
    source = webui.render(tag(name, "1"))
    changed = {block: webui.render(tag(name, f"1,{block}=0.25")) for block in blocks}
    for block in blocks:
        assert found[block]["percent"] == [pytest.approx(percent([source.picture], [changed[block].picture], 12))]
    assert not same(source, changed[blocks[0]])
    ranked = sorted(blocks, key=lambda block: -found[block]["mean"])
    assert figures(answer)["ranking"] == ranked
    assert len(answer.pictures) == 2


def test_the_legacy_form_and_other_settings_of_the_same_pictures(
    webui: WebUI, files: Files, places: dict[str, str]
) -> None:
    block, name = places["last"], files.only[places["last"]]
    first = webui.render(f"{PROMPT} <lora:{name}:1:XYZ>", **analyzer(blocks=block))
    again = webui.render(
        f"{PROMPT} <lora:{name}:1:XYZ>", **analyzer(blocks=block, threshold=1, color="white", swap=True)
    )
    assert figures(again)["rendered"] == 0
    assert by_block(again)[block]["mean"] > by_block(first)[block]["mean"]


def test_blocks_without_tensors_change_nothing_and_cost_nothing(
    webui: WebUI, files: Files, places: dict[str, str]
) -> None:
    block = places["going out"]
    answer = webui.render(tag(files.only[block], "XYZ"), seed=11, **analyzer(blocks="12ALL"))
    found = by_block(answer)
    assert len(found) == 12
    source, changed = (webui.render(tag(files.only[block], w), seed=11) for w in ("1", f"1,{block}=0"))
    assert not same(source, changed)
    assert found[block]["percent"] == [pytest.approx(percent([source.picture], [changed.picture]))]
    assert all(entry["percent"] == [0.0] for name, entry in found.items() if name != block)
    assert figures(answer)["rendered"] == 2
    assert list(by_block(webui.render(tag(files.only[block], "XYZ"), seed=11, **analyzer()))) == [block]


def test_every_seed_has_its_own_source(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    block = places["last"]
    name = files.only[block]
    answer = webui.render(tag(name, "XYZ"), seed=21, **analyzer(blocks=block, seeds=2))
    found = figures(answer)
    assert found["settings"]["seeds"] == [21, 22]
    alone = [
        percent(
            [webui.render(tag(name, "1"), seed=s).picture], [webui.render(tag(name, f"1,{block}=0"), seed=s).picture]
        )
        for s in (21, 22)
    ]
    entry = found["blocks"][0]
    assert entry["percent"] == [pytest.approx(value) for value in alone]
    assert entry["mean"] == pytest.approx(np.mean(alone))
    assert entry["std"] == pytest.approx(np.std(alone))


def test_a_batch_is_compared_as_a_whole(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    block = places["last"]
    name = files.only[block]
    answer = webui.render(tag(name, "XYZ"), seed=31, batch_size=2, **analyzer(blocks=block))
    source = webui.render(tag(name, "1"), seed=31, batch_size=2).pictures[-2:]
    changed = webui.render(tag(name, f"1,{block}=0"), seed=31, batch_size=2).pictures[-2:]
    assert by_block(answer)[block]["percent"] == [pytest.approx(percent(source, changed))]


def test_the_hires_pass(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    block = places["last"]
    name = files.only[block]
    answer = webui.render(tag(name, "XYZ"), **webui.hires, **analyzer(blocks=block))
    source = webui.render(tag(name, "1"), **webui.hires)
    changed = webui.render(tag(name, f"1,{block}=0"), **webui.hires)
    assert source.picture.shape[0] == 2 * DEFAULTS["height"]
    assert by_block(answer)[block]["percent"] == [pytest.approx(percent([source.picture], [changed.picture]))]


def test_img2img_and_the_region(webui: WebUI, files: Files, places: dict[str, str], none: Answer) -> None:
    block = places["last"]
    name = files.only[block]
    settings = {"denoising_strength": 0.9, "steps": 2}
    region = {SCRIPT_TITLE: {"args": ["", True, 1, *[""] * 15, "0,0,50,100"]}}
    answer = webui.repaint(
        tag(name, "XYZ"), none.picture, alwayson_scripts=region, **settings, **analyzer(blocks=block)
    )
    source = webui.repaint(tag(name, "1"), none.picture, **settings).picture
    changed = webui.repaint(tag(name, f"1,{block}=0"), none.picture, **settings).picture
    entry = by_block(answer)[block]
    half = source.shape[1] // 2
    assert entry["percent"] == [pytest.approx(percent([source], [changed]))]
    assert entry["inside"] == [pytest.approx(percent([source[:, :half]], [changed[:, :half]]))]
    assert entry["outside"] == [pytest.approx(percent([source[:, half:]], [changed[:, half:]]))]


def test_inpainting_looks_inside_and_outside_of_the_mask(
    webui: WebUI, files: Files, places: dict[str, str], none: Answer
) -> None:
    mask = np.zeros_like(none.picture)
    mask[:, : mask.shape[1] // 2] = 255
    painted = {"mask": encode(mask), "inpainting_fill": 1, "denoising_strength": 0.9, "steps": 2, "mask_blur": 0}
    block = places["last"]
    answer = webui.repaint(
        tag(files.only[block], "XYZ"), none.picture, **painted, **analyzer(blocks=block, threshold=5)
    )
    entry = by_block(answer)[block]
    assert entry["inside"][0] > entry["outside"][0]
    assert entry["focus"][0] > 0.5


def test_an_interrupted_run_renders_only_what_was_missing(webui: WebUI, files: Files) -> None:
    request = {"seed": int(time.time()), "steps": 3, **analyzer(blocks="12ALL")}
    answers: list[Answer] = []
    running = threading.Thread(
        target=lambda: answers.append(webui.render(tag(files.both, "XYZ"), fresh=True, **request))
    )
    running.start()
    deadline = time.monotonic() + 600
    while running.is_alive() and time.monotonic() < deadline:
        state = webui.call("/sdapi/v1/progress?skip_current_image=true", method="GET")["state"]
        if int(re.match(r"(\d*)", str(state.get("job", ""))).group() or 0) >= 4:  # type: ignore[union-attr]
            webui.call("/sdapi/v1/interrupt")
            break
        time.sleep(0.2)
    running.join(600)
    (stopped,) = answers
    assert "missing" in stopped.warnings
    first = figures(stopped)
    assert 1 <= first["rendered"] < 13
    again = figures(webui.render(tag(files.both, "XYZ"), fresh=True, **request))
    assert again["reused"] == first["rendered"]
    assert again["reused"] + again["rendered"] <= 13
    assert all(entry["percent"][0] is not None for entry in again["blocks"])


def test_the_plain_picture_is_as_before(webui: WebUI, files: Files, none: Answer, places: dict[str, str]) -> None:
    webui.render(tag(files.both, "XYZ"), seed=41, **analyzer(blocks=places["going in"]))
    assert np.array_equal(webui.render(PROMPT, fresh=True).picture, none.picture)


@pytest.mark.parametrize(
    ("prompt", "request_part", "named"),
    [
        ("{plain}", analyzer(), "no tag with lbw=XYZ"),
        ("{both} {unet}", analyzer(), "2 tags with lbw=XYZ"),
        ("{both}", analyzer(span="1"), 'Range "1"'),
        ("{both}", analyzer(span="a,b"), 'Range "a,b"'),
        ("{both}", analyzer(blocks="D05"), "Blocks"),
        ("{both}", analyzer(threshold=300), 'difference threshold "300"'),
        ("{both}", analyzer(seeds=0), 'number of seed "0"'),
        ("{nowhere}", analyzer(), "was not found"),
        ("{both}", plot(("values", "0,much"), ("Block ID", "BASE")), 'X values: "much"'),
        ("{both}", plot(("Original Weights", "NOSUCHPRESET")), "NOSUCHPRESET"),
        ("{both}", plot(("", "")), "no axis"),
    ],
)
def test_bad_input_is_told_before_the_first_picture(
    webui: WebUI, files: Files, prompt: str, request_part: dict[str, Any], named: str
) -> None:
    tags = {
        "plain": f"<lora:{files.both}:1>",
        "both": f"<lora:{files.both}:1:lbw=XYZ>",
        "unet": f"<lora:{files.unet}:1:XYZ>",
        "nowhere": "<lora:no such lora:1:lbw=XYZ>",
    }
    began = time.monotonic()
    with pytest.raises(RequestError) as told:
        webui.render(f"{PROMPT} {prompt.format(**tags)}", steps=150, fresh=True, **request_part)
    body = json.loads(told.value.body)
    assert named in (body.get("errors") or body["message"])  # AUTOMATIC1111, Forge
    assert time.monotonic() - began < 60


# The plot ----------------------------------------------------------------------------------------


def test_a_plot_shows_the_pictures_of_its_cells(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    name, block = files.mapped["ldm"], places["last"]
    request = plot(("values", "0-1 [2]"), ("Block ID", f"{block},NOT {block}"), presets="XYZ:0.5")
    answer = webui.render(tag(name, "XYZ"), **request)
    cells = {(cell["x"], cell["y"]): cell["weights"] for cell in figures(answer)["cells"]}
    assert list(cells) == [("0", block), ("1", block), ("0", f"NOT {block}"), ("1", f"NOT {block}")]
    sheet = answer.picture
    for weights, expected in (
        (cells["1", block], f"0.5,{block}=1"),
        (cells["0", f"NOT {block}"], f"0,{block}=0.5"),
    ):
        alone = webui.render(tag(name, expected)).picture
        assert np.array_equal(webui.render(tag(name, weights)).picture, alone)
        shown = Image.fromarray(alone).resize((128, 128), Image.Resampling.NEAREST)
        assert holds(sheet, np.asarray(shown))


def holds(sheet: np.ndarray, picture: np.ndarray) -> bool:
    """Whether `picture` is in `sheet`, pixel for pixel."""
    height, width, _ = picture.shape
    for y in range(sheet.shape[0] - height + 1):
        starts = np.flatnonzero((sheet[y, : sheet.shape[1] - width + 1] == picture[0, 0]).all(1))
        if any(np.array_equal(sheet[y : y + height, x : x + width], picture) for x in starts):
            return True
    return False


def test_seeds_of_minus_one_and_the_readmes_request(webui: WebUI, files: Files) -> None:
    weights = "XYZ:" + ",".join(["1"] * 17)
    request = plot(("seed", "-1,-1"), presets=weights)
    cells = figures(webui.render(f"{PROMPT} <lora:{files.unet}:1:XYZ>", **request))["cells"]
    assert len(cells) == 2
    assert cells[0]["seed"] != cells[1]["seed"]


def test_elements_on_an_axis(webui: WebUI, files: Files) -> None:
    request = plot(("elements", "IN04:attn1:0,IN04:attn1:1"))
    answer = webui.render(f"{PROMPT} <lora:{files.mapped['ldm']}:1:lbw=XYZ:lbwe=XYZ>", **request)
    assert [cell["elements"] for cell in figures(answer)["cells"]] == ["IN04:attn1:0", "IN04:attn1:1"]
    without = webui.render(tag(files.without_attn1, "1")).picture
    shown = Image.fromarray(without).resize((128, 128), Image.Resampling.NEAREST)
    assert holds(answer.picture, np.asarray(shown))


# The host's own X/Y/Z plot -----------------------------------------------------------------------


def axes_request(webui: WebUI, *axes: tuple[str, str]) -> dict[str, Any]:
    """A request for the X/Y/Z plot: label and values of X, Y, Z."""
    scripts = webui.call("/sdapi/v1/script-info", method="GET")
    info = next(s for s in scripts if s["name"].lower() == "x/y/z plot" and not s["is_img2img"])
    arguments = [argument.get("value") for argument in info["args"]]
    labels = [argument.get("label") for argument in info["args"]]
    for letter, (axis, values) in zip("XYZ", [*axes, *[("Nothing", "")] * (3 - len(axes))]):
        place = labels.index(f"{letter} type")
        choices = info["args"][place]["choices"]
        arguments[place] = choices.index(axis)
        arguments[place + 1] = values
        arguments[place + 2] = values.split(",")
    return {"script_name": "x/y/z plot", "script_args": arguments}


def test_our_axes_in_the_hosts_plot(webui: WebUI, files: Files, places: dict[str, str]) -> None:
    block, name = places["last"], files.only[places["last"]]
    prompt = f"{PROMPT} <lora:{name}:1:lbw=ALL>"
    axes = (("[LBW] value", "0-1 [2]"), ("[LBW] block", f"{block},{places['going in']}"))
    off, on = webui.render(tag(name, "0")).picture, webui.render(tag(name, "1")).picture
    sheet = plotted(webui, prompt, *axes)
    assert holds(sheet, off)
    assert holds(sheet, on)
    sheet = plotted(webui, prompt, ("[LBW] preset", "ALL,ALL"))
    assert holds(sheet, on)
    assert not holds(sheet, off)


def plotted(webui: WebUI, prompt: str, *axes: tuple[str, str]) -> np.ndarray:
    """The grid that the host's plot draws."""
    body = {**DEFAULTS, "prompt": prompt, **axes_request(webui, *axes)}
    return decode(webui.call("/sdapi/v1/txt2img", body)["images"][0])


def test_a_wrong_value_on_our_axis_is_told(webui: WebUI, files: Files) -> None:
    with pytest.raises(RequestError) as told:
        webui.render(f"{PROMPT} <lora:{files.both}:1>", **axes_request(webui, ("[LBW] weights", '"1,2,3"')))
    assert "3 numbers" in told.value.body
