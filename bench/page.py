"""How soon a page is usable, and how soon a slider's change stands in the prompt, in a browser on this machine.

    python run.py test tests/browser     once: makes the environments
    .venv/bin/python bench/page.py

A page counts as usable when the preset editor shows its text and the server's answer to a click on Analyze stands on
the page; clicks are tried every 50 ms. Beside each page, in turn with it, a bare page of the same Gradio with one text
box, one button and one answer. The panels have 1,000 presets and 500 LoRAs to choose from; the studio's page, with the
bundled model, has the shipped presets or your own, and 500 LoRAs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import chromium, pages, server  # noqa: E402

PRESETS, LORAS = 1000, 500
COLUMNS = {
    "shown": "first shown, ms", "usable": "usable, ms", "between": "from shown to usable, ms",
    "cpu": "the page's own CPU time, ms",
}  # fmt: skip
"""What is measured; other work on the machine hardly disturbs the last."""

# Asks what the page must refuse, so that nothing is rendered; `lbw` holds milliseconds since the navigation began.
PROBE = """
window.lbw = {};
const timer = setInterval(() => {
    const find = (selector) => document.querySelector(selector);
    const lbw = window.lbw;
    const text = find("#lbw_presets_text textarea");
    if (text && text.value) lbw.text ??= performance.now();
    if ((find("#lbw_analyze_message")?.textContent ?? "").includes("no tag with")) lbw.answer ??= performance.now();
    if (lbw.text && lbw.answer) {
        lbw.shown = performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0;
        lbw.usable = Math.max(lbw.text, lbw.answer);
        clearInterval(timer);
        return;
    }
    const prompt = find("#lbw_analyze_prompt textarea");
    if (!prompt) return;
    if (prompt.value !== "no tag") {
        prompt.value = "no tag";
        prompt.dispatchEvent(new Event("input", {bubbles: true}));
    }
    find("#lbw_analyze_start").click();
}, 50);
"""

# Milliseconds that a change takes through the panel, and those that the page's own box takes for the same text.
SLIDER = """(runs) => {
    const box = document.querySelector("#txt2img_prompt textarea");
    const slider = document.querySelector('.lbw-block[data-block="D05"] input');
    const took = (change) => {
        const before = performance.now();
        change();
        return performance.now() - before;
    };
    const times = {panel: [], box: []};
    for (let n = 0; n < runs; n++) {
        const value = (n % 19 + 1) / 20;
        times.panel.push(took(() => {
            slider.value = value;
            slider.dispatchEvent(new Event("input", {bubbles: true}));
        }));
        if (!box.value.includes(String(value))) throw new Error(`${value} is not in the prompt`);
        const text = box.value;
        times.box.push(took(() => {
            box.value = text;
            box.dispatchEvent(new Event("input", {bubbles: true}));
        }));
    }
    return times;
}"""


# The pages, each in a process of its own --------------------------------------------------------------


def bare(folder: Path) -> Any:
    """Return a page with nothing that could take time."""
    import gradio as gr

    from lbw.ui.gradio_versions import listen, on_page_load

    with gr.Blocks(analytics_enabled=False) as page:
        text = gr.Textbox(elem_id="lbw_presets_text", lines=2)
        prompt = gr.Textbox(elem_id="lbw_analyze_prompt", lines=2)
        start = gr.Button("Analyze", elem_id="lbw_analyze_start")
        answer = gr.HTML(elem_id="lbw_analyze_message")
        on_page_load(lambda: "text", [text])
        listen(start.click, lambda prompt: f"{prompt}: no tag with", [prompt], [answer], queue=True)
    return page


def panels(folder: Path) -> Any:
    """Return the panels of the browser tests."""
    from tests.browser import analyze_page

    analyze_page.Host.loras = lambda self: [f"lora {number}" for number in range(LORAS)]  # type: ignore[method-assign]
    return analyze_page.build(folder)


PAGES: dict[str, Callable[[Path], Any]] = {"bare": bare, "panels": panels}


# The measurement --------------------------------------------------------------------------------------


def visit(browser: Any, address: str) -> dict[str, float]:
    """Open a page in a fresh browser context and return what the probe found."""
    context = browser.new_context(viewport={"width": 1300, "height": 1000})
    context.route(lambda url: "//127.0.0.1" not in url, lambda route: route.abort())
    context.add_init_script(PROBE)
    page = context.new_page()
    debugger = context.new_cdp_session(page)
    debugger.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address)
    page.wait_for_function("window.lbw.usable", timeout=60_000)
    found: dict[str, float] = page.evaluate("window.lbw")
    metrics = debugger.send("Performance.getMetrics")["metrics"]
    found["cpu"] = 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")
    context.close()
    return found


def start(stack: ExitStack, python: Path, kind: str, folder: Path) -> str:
    """Start a server of pages of a kind, and return the address of one."""
    log = folder / f"{kind}.log"
    if kind in PAGES:
        server_of_each = server.serving(python, ["bench.page", "--serve", kind], log)
        return stack.enter_context(server_of_each).page(folder / "user")
    loras = folder / "loras"
    loras.mkdir()
    for number in range(LORAS):
        (loras / f"lora {number}.safetensors").symlink_to(ROOT / "demo" / "loras" / "style.safetensors")
    port = server.free_port()
    studio = ["lbw", "studio", "--no-browser", "--port", str(port), "--lora-dir", str(loras)]
    return stack.enter_context(server.serving(python, studio, log)).answers(port)


def compare(browser: Any, python: Path, kind: str, runs: int) -> None:
    """Measure a page and the bare one of the same Gradio in turn, and print a row for each."""
    found: dict[str, list[dict[str, float]]] = {"bare": [], kind: []}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "user").mkdir()
        presets = "".join(f"PRESET{number}:0,OUT00={number}\n" for number in range(PRESETS))
        (folder / "user" / "lbwpresets.txt").write_text(presets)
        addresses = {each: start(stack, python, each, folder) for each in found}
        for run in range(-1, runs):
            for each, address in addresses.items():
                once = visit(browser, address)
                if run >= 0:
                    found[each].append(once)
    for each, visits in found.items():
        for once in visits:
            once["between"] = once["usable"] - once["shown"]
        medians = {name: statistics.median(once[name] for once in visits) for name in COLUMNS}
        ratio = medians["usable"] / statistics.median(once["usable"] for once in found["bare"])
        figures = " | ".join(f"{median:.0f}" for median in medians.values())
        print(f"| {each}, {python.parent.parent.name} | {figures} | {ratio:.2f} |", flush=True)


def slider(browser: Any, runs: int) -> None:
    """Measure the panel at a tag, and print a row."""
    with pages.site() as site:
        site.more = {f"preset {number}": "0.5" for number in range(PRESETS)}
        for number in range(LORAS):
            pages.LORAS[f"lora {number}"] = pages.LORAS["flux"]
        page = browser.new_page()
        page.goto(site.address)
        box = page.locator("#txt2img_prompt textarea")
        box.click()
        page.keyboard.insert_text("<lora:lora 7:1:lbw=" + ",".join(["0.25"] * 61) + ">")
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector('.lbw-block[data-block="D05"] input:enabled')
        times = page.evaluate(SLIDER, runs)
        page.close()
    panel, alone = statistics.median(times["panel"]), statistics.median(times["box"])
    print(f"| slider to prompt | {panel:.1f} | {max(times['panel']):.1f} | {alone:.2f} |")


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="visits of each page (default 9)")
    parser.add_argument("--serve", choices=PAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        from tests.browser.serve_each import serve_each

        serve_each(PAGES[options.serve])
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = chromium.path(playwright)
        if path is None:
            sys.exit(chromium.MISSING)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        print(f"| page | {' | '.join(COLUMNS.values())} | usable, to the bare page |")
        print(f"| --- {'| --- ' * (len(COLUMNS) + 1)}|")
        for python in server.pythons():
            if python.exists():
                compare(browser, python, "panels", options.runs)
        compare(browser, Path(sys.executable), "studio", options.runs)
        print("\n| | median ms | longest | the box alone |")
        print("| --- | --- | --- | --- |")
        slider(browser, 10 * options.runs)
        browser.close()


if __name__ == "__main__":
    main()
