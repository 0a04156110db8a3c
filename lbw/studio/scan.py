"""The command `scan`: sizes, overlaps, and what each block does to the predicted noise."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch

from lbw.analysis.cells import AUTO, Cell, choose, parse_span, whole_number
from lbw.analysis.changes import BaseWeight, Changes, overlaps, read_changes, sizes
from lbw.analysis.noise_scan import AT, Noise, NoiseChange, kept_steps, noise_scan
from lbw.analysis.prompt import tag_to_analyze
from lbw.core.blocks import Site
from lbw.core.errors import FileError, TagError
from lbw.core.limits import SEEDS
from lbw.files.lora import open_lora
from lbw.hosts.pipelines import denoisers

from .analyze import CellRenderer
from .commands import job_of, renderer
from .console import bar, table
from .renderer import Job, Renderer
from .sampling import replaced, step_of


def run(options: argparse.Namespace) -> int:
    """`lbw scan`."""
    maker = renderer(options) if options.model or options.prompt else None
    base = base_weights(maker) if maker else None
    files = [open_lora(path) for path in options.loras]
    found = [read_changes(file, base) for file in files]
    names = [file.path.stem for file in files]
    report: dict[str, Any] = {
        "remarks": {name: list(file.remarks) for name, file in zip(names, files)},
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
        for remark in report["remarks"][name]:
            print(f"lbw: {name}: {remark}", file=sys.stderr)
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
    seeds = whole_number(options.seeds, "--seeds", 1, SEEDS)
    try:
        at = tuple(float(share) for share in str(options.at).split(","))
    except ValueError as error:
        raise TagError(f"--at {options.at} is none; write shares of the steps, for example 0.1,0.4") from error
    if not all(0 <= share < 1 for share in at):
        raise TagError(f"--at {options.at} is out of range; from 0, the first step, to below 1")
    job = job_of(options, maker)
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
class _Trajectory:
    """What happened in the source's picture, up to the last kept step.

    outputs: of the denoiser, by its calls. steps: what the scheduler returned, by its calls.
    """

    outputs: list[Any] = field(default_factory=list)
    steps: list[Any] = field(default_factory=list)


@dataclass
class NoiseProbe:
    """Asks the denoiser of a pipeline at kept steps of the source's trajectory.

    A cell is sampled as a picture is, by the pipeline itself, with its own text conditioning and guidance. But the
    scheduler returns what it returned in the source's picture, and the denoiser works at the kept steps alone.
    """

    maker: Renderer
    job: Job
    at: tuple[float, ...] = AT
    kept: dict[int, _Trajectory] = field(default_factory=dict)

    def noise(self, cell: Cell) -> Noise:
        """Return the guided noise of `cell` at the kept steps.

        Raises:
            LbwError: a LoRA file cannot be read, or the pipeline cannot render the job.
        """
        known = self.kept.get(cell.seed)
        trajectory = known or _Trajectory()
        found = self._sample(cell, trajectory, is_source=known is None)
        self.kept = {cell.seed: trajectory}
        return np.stack([noise.float().cpu().numpy() for noise in found])

    def _sample(self, cell: Cell, trajectory: _Trajectory, is_source: bool) -> list[torch.Tensor]:
        """Return the guided noise at the kept steps, and fill `trajectory` where this is the source."""
        maker = CellRenderer(self.maker, self.job).cell_maker(cell)
        job = replace(self.job, seed=cell.seed)
        text, loras = maker.resolve(job)
        pipeline = maker.host.pipeline
        kept = [step + 1 for step in kept_steps(job.steps, self.at)]
        found: dict[int, torch.Tensor] = {}
        asked = calls = 0

        def now() -> int:
            return step_of(pipeline.scheduler, calls, job.steps)

        def ask(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal asked
            asked += 1
            if not is_source and now() not in kept:
                return trajectory.outputs[asked - 1]
            output = original(*args, **kwargs)
            if is_source:
                trajectory.outputs.append(output)
            return output

        def step(original: Callable[..., Any], noise: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            number = now()
            if number in kept:
                found.setdefault(number, noise)
            if len(found) == len(kept):
                raise _EnoughError
            result = original(noise, *args, **kwargs)  # also where it is not used: the scheduler counts its calls
            if is_source:
                trajectory.steps.append(result)
            calls += 1
            if now() != number:
                maker.begin(job, loras, now())
            return trajectory.steps[calls - 1]

        with maker.turn, ExitStack() as stack:
            maker.begin(job, loras)
            for denoiser in denoisers(pipeline).values():
                stack.enter_context(replaced(denoiser, "forward", ask))
            stack.enter_context(replaced(pipeline.scheduler, "step", step))
            with suppress(_EnoughError):
                maker.sample(job, text, [])
        return [found[number] for number in kept]
