"""The command `scan`: sizes, overlaps, and what each block does to the predicted noise."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lbw.analysis.cells import AUTO, Cell, choose, parse_span, whole_number
from lbw.analysis.changes import BaseWeight, Changes, overlaps, read_changes, sizes
from lbw.analysis.noise_scan import AT, Noise, NoiseChange, kept_steps, noise_scan
from lbw.analysis.prompt import tag_to_analyze
from lbw.core.blocks import Site
from lbw.core.errors import FileError, HostError, TagError
from lbw.core.plan import at_step
from lbw.files.lora import open_lora

from .analyze import CellRenderer
from .commands import job_of, renderer
from .console import bar, table
from .renderer import EMBEDDINGS, Job, Renderer


def run(options: argparse.Namespace) -> int:
    """`lbw scan`."""
    maker = renderer(options) if options.model or options.prompt else None
    base = base_weights(maker) if maker else None
    found = [read_changes(open_lora(path), base) for path in options.loras]
    names = [Path(path).stem for path in options.loras]
    report: dict[str, Any] = {
        "sizes": {name: [_size(size) for size in sizes(changes, base)] for name, changes in zip(names, found)},
        "overlaps": _overlaps(names, found),
    }
    noise: list[NoiseChange] = []
    if options.prompt:
        assert maker is not None
        noise = scan_noise(maker, options)
        report["noise"] = [{"block": n.choice.label, "changes": n.changes, "mean": n.mean} for n in noise]
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
        return 0
    for name in names:
        print(f"{name}: size of the change in each block")
        headings = ["block", "modules", "‖ΔW‖", *(["‖ΔW‖/‖W‖"] if base else []), ""]
        entries = report["sizes"][name]
        largest = max((entry["relative"] or entry["norm"] for entry in entries), default=0) or 1e-9
        rows = [
            [e["block"], str(e["modules"]), f"{e['norm']:.4g}"]
            + ([f"{e['relative']:.4g}" if e["relative"] is not None else "-"] if base else [])
            + ["█" * round((e["relative"] or e["norm"]) / largest * 30)]
            for e in entries
        ]
        table(headings, rows)
    for pair in report["overlaps"]:
        print(f"{pair['first']} and {pair['second']}: 1 the same change, 0 independent, -1 opposite")
        table(["block", "cosine", "weights both change"], [[b["block"], f"{b['cosine']:+.4f}", str(b["shared"])] for b in pair["blocks"]])  # fmt: skip # noqa: E501
    if noise:
        print("change of the predicted noise without each block")
        largest = noise[0].mean or 1e-9
        table(
            ["place", "block", "change", ""],
            [
                [str(i), n.choice.label, f"{n.mean:.4f}", "█" * round(n.mean / largest * 30)]
                for i, n in enumerate(noise, 1)
            ],
        )
    return 0


def _size(size: Any) -> dict[str, Any]:
    return {**asdict(size), "relative": size.relative}


def _overlaps(names: list[str], found: list[Changes]) -> list[dict[str, Any]]:
    pairs = [(i, j) for i in range(len(found)) for j in range(i + 1, len(found))]
    for i, j in pairs:
        if found[i].architecture.kind != found[j].architecture.kind:
            raise FileError(
                f"{names[i]} is for {found[i].architecture.title} and {names[j]} for {found[j].architecture.title}: "
                "nothing to compare"
            )
    return [
        {
            "first": names[i],
            "second": names[j],
            "blocks": [asdict(overlap) for overlap in overlaps(found[i], found[j])],
        }
        for i, j in pairs
    ]


def base_weights(maker: Renderer) -> BaseWeight:
    """Return what gives the model's base weights."""

    def weight(site: Site) -> torch.Tensor | None:
        return maker.host.base_weight(site)

    return weight


def scan_noise(maker: Renderer, options: argparse.Namespace) -> list[NoiseChange]:
    """Return what each block of the prompt's LoRA does to the predicted noise."""
    options.prompt = str(options.prompt)
    name = tag_to_analyze(options.prompt).name
    span = parse_span(options.range, "--range")
    seeds = whole_number(options.seeds, "--seeds", 1, 1000)
    try:
        at = tuple(float(share) for share in str(options.at).split(","))
    except ValueError as error:
        raise TagError(f"--at {options.at} is none; write shares of the steps, for example 0.1,0.4") from error
    if not all(0 <= share < 1 for share in at):
        raise TagError(f"--at {options.at} is out of range; from 0, the first step, to below 1")
    job = job_of(options, maker.host.architecture)
    tensors = maker.host.tensors(name)
    choices = choose(options.blocks or AUTO, maker.host.architecture, tensors)
    with bar("scanning") as show:
        return noise_scan(
            choices,
            range(job.seed, job.seed + seeds),
            span,
            maker.host.architecture,
            tensors,
            NoiseProbe(maker, job, at),
            lambda done, total: show(done, total, None),
        )


class _EnoughError(Exception):
    """The trajectory has reached the last step that is kept."""


@dataclass
class NoiseProbe:
    """Asks the denoiser of a diffusers pipeline, SD or SDXL, at kept steps of the source's trajectory."""

    maker: Renderer
    job: Job
    at: tuple[float, ...] = AT
    kept: dict[int, list[tuple[tuple[Any, ...], dict[str, Any]]]] = field(default_factory=dict)

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise of `cell` at the kept steps.

        Raises:
            HostError: the pipeline is of a sort whose denoiser cannot be asked.
        """
        pipeline = self.maker.host.pipeline
        if type(pipeline).__name__ not in EMBEDDINGS:
            raise HostError(f"the noise of {type(pipeline).__name__} cannot be scanned; use analyze")
        if cell.seed not in self.kept:
            self.kept = {cell.seed: self._trajectory(cell)}
        maker = CellRenderer(self.maker, self.job).cell_maker(cell)
        text, loras = maker.resolve(self.job)
        with maker.turn:
            maker.host.apply([at_step(lora, 1, self.job.steps) for lora in loras])
            conditioning = maker.conditioning(self.job, text)
            return np.stack([self._ask(args, kwargs, conditioning) for args, kwargs in self.kept[cell.seed]])

    def _trajectory(self, source: Cell) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Return what the denoiser is called with at the kept steps of the source."""
        steps = kept_steps(self.job.steps, self.at)
        calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        count = 0

        def keep(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal count
            if count in steps:
                calls.append((args, dict(kwargs)))
                if count == steps[-1]:
                    raise _EnoughError
            count += 1

        with self.maker.turn:
            handle = self.maker.host.pipeline.unet.register_forward_pre_hook(keep, with_kwargs=True)
            try:
                CellRenderer(self.maker, self.job).render(source)
            except _EnoughError:
                pass
            finally:
                handle.remove()
        return calls

    @torch.inference_mode()
    def _ask(self, args: tuple[Any, ...], kwargs: dict[str, Any], conditioning: dict[str, Any]) -> Noise:
        """Return the guided noise for one kept call, with this text conditioning in place of the source's."""
        kwargs = {**kwargs, "encoder_hidden_states": _both(conditioning, "prompt_embeds")}
        if "pooled_prompt_embeds" in conditioning:
            pooled = _both(conditioning, "pooled_prompt_embeds")
            kwargs["added_cond_kwargs"] = {**kwargs["added_cond_kwargs"], "text_embeds": pooled}
        noise = self.maker.host.pipeline.unet(*args, **kwargs)[0].float()
        if "negative_prompt_embeds" in conditioning:
            without, given = noise.chunk(2)
            noise = without + self.job.cfg * (given - without)
        result: Noise = noise.cpu().numpy()
        return result


def _both(conditioning: dict[str, Any], name: str) -> torch.Tensor:
    """Return the negative prompt's tensor and the prompt's, one after the other; without guidance the prompt's."""
    negative = conditioning.get(f"negative_{name}")
    tensor: torch.Tensor = conditioning[name]
    return tensor if negative is None else torch.cat([negative, tensor])
