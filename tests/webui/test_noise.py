"""The quick scan on a WebUI, between stand-ins for its samplers and its generations.

The stand-in for a model predicts noise that follows from the latents, the weights and the text by one formula, so that
trajectories can be computed here beside it, in numpy.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lbw.analysis.cells import Cell, choose, uniform_cell
from lbw.analysis.effective_blocks import Settings
from lbw.analysis.noise_scan import noise_scan
from lbw.analysis.runner import StoppedError
from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import HostError
from lbw.core.weights import parse_block_weights
from lbw.webui import generation
from lbw.webui.options import RequestOptions

SD1 = ARCHITECTURES["sd1"]

STEPS, SCANNED = 10, 3
SIGMAS = np.linspace(9.0, 0.0, STEPS + 1)
PULL = {"IN04": 0.5, "OUT03": 0.25}
TEXT = 0.125
"""How much the blocks, and the text as encoded with BASE, contribute to the noise."""


def noise_of(x: Any, unet: float, text: float) -> Any:
    return 0.5 * x + unet + text


class Interrupted(BaseException):
    """`InterruptedException`."""


class Denoiser:
    """`CFGDenoiser`; `asked` tells at which step of the pass, and with which noise level, it was asked."""

    asked: list[tuple[int, float]]

    def __init__(self, webui: Webui, p: Any) -> None:
        self.webui, self.p = webui, p
        self.step, self.steps, self.total_steps = 0, None, None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def forward(self, x: torch.Tensor, sigma: torch.Tensor, cond: float) -> torch.Tensor:
        if self.webui.state.interrupted or self.webui.state.skipped:
            raise Interrupted
        self.webui.asked.append((self.p.seed, self.step, float(sigma)))
        self.webui.at_call(len(self.webui.asked))
        noise = noise_of(x, self.webui.unet, cond)
        self.step += 1
        return noise if isinstance(self, TimestepDenoiser) else x - sigma.reshape(-1, 1, 1, 1) * noise


class TimestepDenoiser(Denoiser):
    """`CFGDenoiserTimesteps`: is given a timestep, and returns the noise."""


def euler(denoiser: Denoiser, x: torch.Tensor, cond: float) -> torch.Tensor:
    for now, after in pairwise(SIGMAS):
        x = x + (after - now) * (x - denoiser(x, torch.tensor([now]), cond=cond)) / now
    return x


def heun(denoiser: Denoiser, x: torch.Tensor, cond: float) -> torch.Tensor:
    for now, after in pairwise(SIGMAS):
        first = (x - denoiser(x, torch.tensor([now]), cond=cond)) / now
        ahead = x + (after - now) * first
        if after == 0:
            return ahead
        second = (ahead - denoiser(ahead, torch.tensor([after]), cond=cond)) / after
        x = x + (after - now) * (first + second) / 2
    return x


def ddim(denoiser: Denoiser, x: torch.Tensor, cond: float) -> torch.Tensor:
    for now, after in pairwise(SIGMAS):
        x = x + (after - now) * denoiser(x, torch.tensor([100 * now]), cond=cond)
    return x


def short(denoiser: Denoiser, x: torch.Tensor, cond: float) -> torch.Tensor:
    return denoiser(x, torch.tensor([9.0]), cond=cond)


SAMPLERS = {
    "Euler": (euler, Denoiser, 1),
    "Heun": (heun, Denoiser, 2),
    "DDIM": (ddim, TimestepDenoiser, 1),
    "Short": (short, Denoiser, 1),
}


class Generation:
    """`StableDiffusionProcessingTxt2Img`."""

    def __init__(self, webui: Webui, sampler_name: str) -> None:
        self.webui, self.sampler_name = webui, sampler_name
        self.seed, self.steps, self.restore_faces = 1, STEPS, True
        self.extra_generation_params: dict[str, str] = {}

    def sample(self, conditioning: float) -> torch.Tensor:
        function, kind, calls = SAMPLERS[self.sampler_name]
        denoiser = kind(self.webui, self)
        denoiser.steps, denoiser.total_steps = self.steps, self.steps * calls
        x = torch.from_numpy(latents(self.seed))
        self.webui.prepared += 1
        with suppress(Interrupted):
            x = function(denoiser, x, conditioning)
        self.webui.cleaned_up += 1
        return x


class Decoded(list[Any]):
    """`DecodedSamples`."""

    already_decoded = True


class Webui:
    """A WebUI, and what it did."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(interrupted=False, skipped=False, begin=self.begin, end=self.end)
        self.queue_lock = threading.Lock()
        self.asked: list[tuple[int, int, float]] = []
        self.encoded: list[float] = []
        self.jobs: list[str] = []
        self.threads: set[threading.Thread] = set()
        self.unet = self.text = 0.0
        self.prepared = self.cleaned_up = self.decoded = self.ended = 0
        self.at_call: Callable[[int], None] = lambda number: None
        self.noise: Any = None

    def begin(self, job: str) -> None:
        assert self.queue_lock.locked()
        self.jobs.append(job)

    def end(self) -> None:
        assert self.queue_lock.locked()
        self.jobs.append("end")

    def process_images(self, p: Any) -> Any:
        """Load what the cell says, encode the text if that changed, sample, decode."""
        weights = parse_block_weights("XYZ").resolve(SD1, generation.of(p).options.presets).blocks
        self.threads.add(threading.current_thread())
        self.unet = sum(pull * weights[block] for block, pull in PULL.items())
        if self.text != TEXT * weights["BASE"]:
            self.text = TEXT * weights["BASE"]
            self.encoded.append(weights["BASE"])
        samples = p.sample(conditioning=self.text)
        if not getattr(samples, "already_decoded", False):
            self.decoded += 1
        images = [sample.numpy() for sample in samples]
        assert not p.restore_faces or self.decoded
        self.unet, self.ended = 0.0, self.ended + 1
        return SimpleNamespace(images=images)


def latents(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 4, 2, 3)) * SIGMAS[0]


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webui]:
    """The modules under test, loaded with the stand-ins."""
    double = Webui()
    modules = ModuleType("modules")
    parts = {
        "processing": SimpleNamespace(process_images=double.process_images, DecodedSamples=Decoded),
        "shared": SimpleNamespace(state=double.state, opts=SimpleNamespace(data={})),
        "call_queue": SimpleNamespace(queue_lock=double.queue_lock),
        "sd_samplers": SimpleNamespace(samplers=[]),
        "sd_samplers_cfg_denoiser": SimpleNamespace(CFGDenoiser=Denoiser),
        "sd_samplers_common": SimpleNamespace(InterruptedException=Interrupted),
        "sd_samplers_timesteps": SimpleNamespace(CFGDenoiserTimesteps=TimestepDenoiser),
        "images": SimpleNamespace(),
        "scripts": SimpleNamespace(Script=object),
    }
    modules.__dict__.update(parts)
    monkeypatch.setitem(sys.modules, "modules", modules)
    gradio = ModuleType("gradio")
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    ours = [f"lbw.webui.{name}" for name in ("analyzer", "cells", "noise", "panel_host")]
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    double.noise = importlib.import_module("lbw.webui.noise")
    double.cells = sys.modules["lbw.webui.cells"]
    forward = Denoiser.forward
    yield double
    assert Denoiser.forward is forward, "the WebUI's denoiser is given back as it was"
    for name in ours:
        sys.modules.pop(name, None)


def source(seed: int = 1) -> Cell:
    return uniform_cell(SD1, 1.0, seed)


def without(*blocks: str, seed: int = 1) -> Cell:
    return source(seed).with_entry(blocks, "0")


def prober(webui: Webui, sampler: str = "Euler", stopped: Callable[[], bool] = lambda: False) -> Any:
    renderer = webui.cells.WebuiRenderer(Generation(webui, sampler), RequestOptions(), {}, lambda *_: None)
    return webui.noise.NoiseProbe(renderer, stopped)


def trajectory(sampler: str, seed: int = 1) -> np.ndarray:
    """Return the latents of the source at the scanned step, computed without the WebUI."""
    x = latents(seed)
    whole = (sum(PULL.values()), TEXT)
    for now, after in list(pairwise(SIGMAS))[:SCANNED]:
        slope = noise_of(x, *whole)
        if sampler == "Heun":
            slope = (slope + noise_of(x + (after - now) * slope, *whole)) / 2
        x = x + (after - now) * slope
    return x


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DDIM"])
def test_the_noise_of_each_cell_is_predicted_where_the_source_was(webui: Webui, sampler: str) -> None:
    probe, x = prober(webui, sampler), trajectory(sampler)
    for cell, unet, text in (
        (source(), 0.75, TEXT),
        (without("IN04"), 0.25, TEXT),
        (without("IN04", "OUT03"), 0.0, TEXT),
        (without("BASE"), 0.75, 0.0),
        (source(), 0.75, TEXT),
    ):
        assert probe.noise(cell) == pytest.approx(noise_of(x, unet, text)[None], rel=1e-5)
    calls = 2 * SCANNED if sampler == "Heun" else SCANNED
    assert [step for _, step, _ in webui.asked] == [*range(calls + 1), *[calls] * 4]
    assert len({sigma for _, _, sigma in webui.asked[calls:]}) == 1


def test_generations_end_as_usual_and_nothing_is_decoded(webui: Webui) -> None:
    probe = prober(webui)
    for cell in (source(), without("IN04"), without("BASE")):
        probe.noise(cell)
    assert (webui.prepared, webui.cleaned_up, webui.ended, webui.decoded) == (3, 3, 3, 0)
    assert webui.encoded == [1, 0]  # the text is encoded again only if its encoder's weights change


def test_the_scan_ranks_by_how_much_of_the_noise_changes(webui: Webui) -> None:
    probe = prober(webui)
    choices = choose("BASE,OUT03,IN04,M00", SD1, ())
    tensors = dict.fromkeys(("BASE", "OUT03", "IN04"), 1)
    found = noise_scan(Settings(tuple(choices), (1, 2)), SD1, tensors, probe)
    sizes = [np.sqrt(np.mean(noise_of(trajectory("Euler", seed), 0.75, TEXT) ** 2)) for seed in (1, 2)]
    assert [change.choice.label for change in found] == ["IN04", "OUT03", "BASE", "M00"]
    for change, part in zip(found, (0.5, 0.25, 0.125, 0.0)):
        assert change.changes == pytest.approx([part / size for size in sizes], rel=1e-5)
    assert [seed for seed, *_ in webui.asked] == [1] * (SCANNED + 4) + [2] * (SCANNED + 4)


def test_a_generation_within_the_generation_is_left_alone(webui: Webui) -> None:
    inner = Generation(webui, "Euler")
    made: list[torch.Tensor] = []

    def at_call(number: int) -> None:
        if number == 2:
            made.append(inner.sample(0.0))

    webui.at_call = at_call
    found = prober(webui).noise(source())
    webui.at_call = lambda number: None
    assert found == pytest.approx(noise_of(trajectory("Euler"), 0.75, TEXT)[None], rel=1e-5)
    webui.unet = 0.75
    assert torch.equal(made[0], inner.sample(0.0))


def test_it_stops_within_the_trajectory(webui: Webui) -> None:
    probe = prober(webui, stopped=lambda: len(webui.asked) == 2)
    with pytest.raises(StoppedError):
        probe.noise(source())
    assert (len(webui.asked), webui.cleaned_up, webui.ended, webui.decoded) == (2, 1, 1, 0)


@pytest.mark.parametrize("button", ["interrupted", "skipped"])
@pytest.mark.parametrize("call", [2, SCANNED + 2])
def test_it_stops_where_the_webuis_own_buttons_say_so(webui: Webui, button: str, call: int) -> None:
    probe = prober(webui)
    webui.at_call = lambda number: setattr(webui.state, button, number == call)
    choices = choose("IN04,OUT03", SD1, ())
    with pytest.raises(StoppedError):
        noise_scan(Settings(tuple(choices), (1,)), SD1, {"IN04": 1, "OUT03": 1}, probe)
    assert len(webui.asked) == call
    assert webui.cleaned_up == webui.ended


def test_after_a_stop_the_trajectory_begins_anew(webui: Webui) -> None:
    probe = prober(webui, stopped=lambda: len(webui.asked) == SCANNED)
    with pytest.raises(StoppedError):
        probe.noise(source())
    probe.stopped = lambda: False
    assert probe.noise(source()) == pytest.approx(noise_of(trajectory("Euler"), 0.75, TEXT)[None], rel=1e-5)


def test_a_sampler_that_ends_early_is_told(webui: Webui) -> None:
    with pytest.raises(HostError, match="the sampler Short finishes before the scanned step"):
        prober(webui, "Short").noise(source())


def test_noise_that_is_no_number_is_told(webui: Webui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PULL, "IN04", float("nan"))
    with pytest.raises(HostError, match="contains NaN"):
        prober(webui).noise(source())


def test_what_the_webui_raises_leaves_the_denoiser_as_it_was(webui: Webui) -> None:
    def fail(number: int) -> None:
        raise RuntimeError("out of memory")

    webui.at_call = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        prober(webui).noise(source())


# In the tab --------------------------------------------------------------------------------------


def in_tab(webui: Webui, stopped: Callable[[], bool] = lambda: False) -> Any:
    panel_host = importlib.import_module("lbw.webui.panel_host")
    renderer = panel_host.TabRenderer(Generation(webui, "Euler"), RequestOptions(), {}, lambda *_: None, stopped)
    return webui.noise.NoiseProbe(renderer, stopped)


def test_each_cell_waits_for_its_turn_in_the_queue(webui: Webui) -> None:
    probe = in_tab(webui)
    with webui.queue_lock:
        waiting = threading.Thread(target=probe.noise, args=(source(),))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert webui.asked == []
    waiting.join(20)
    probe.noise(without("IN04"))
    assert webui.jobs == ["lbw", "end"] * 2
    assert not webui.queue_lock.locked()


def test_a_stop_while_it_waits_asks_nothing(webui: Webui) -> None:
    with pytest.raises(StoppedError):
        in_tab(webui, lambda: True).noise(source())
    assert (webui.asked, webui.jobs) == ([], [])
    assert not webui.queue_lock.locked()


def test_forge_generates_in_its_main_thread(webui: Webui, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_and_wait_result(function: Callable[[], None]) -> None:
        main = threading.Thread(target=function, name="main of Forge")
        main.start()
        main.join(20)

    main_thread = SimpleNamespace(run_and_wait_result=run_and_wait_result)
    monkeypatch.setitem(sys.modules, "modules_forge.main_thread", main_thread)
    probe = in_tab(webui)
    asking = threading.Thread(target=probe.noise, args=(source(),))
    asking.start()
    asking.join(20)
    assert {thread.name for thread in webui.threads} == {"main of Forge"}


def test_a_webui_that_hides_its_folders_opens_none(webui: Webui, tmp_path: Path) -> None:
    panel_host = importlib.import_module("lbw.webui.panel_host")
    panel_host.shared.cmd_opts = SimpleNamespace(hide_ui_dir_config=True)
    with pytest.raises(HostError, match="hides its folders"):
        panel_host.PanelHost(None).open_folder(tmp_path)
