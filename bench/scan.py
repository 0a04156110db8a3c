"""The noise scan beside the full analysis: does it rank the blocks alike, and in what part of the time?

    python run.py bench                     or   .venv/bin/python bench/scan.py --seeds 3

On the bundled model: for each bundled LoRA and some prompts, Spearman's ρ of the change of the predicted noise and
of the mean percentage, over the blocks that the LoRA has tensors in, and the ratio of the times.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from lbw.analysis.cells import Choice  # noqa: E402
from lbw.analysis.effective_blocks import Analysis, Settings  # noqa: E402
from lbw.analysis.noise_scan import AT, noise_scan  # noqa: E402
from lbw.analysis.request import PictureRequest  # noqa: E402
from lbw.analysis.store import CellStore  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline  # noqa: E402
from lbw.studio.cells import StandaloneCells  # noqa: E402
from lbw.studio.noise import NoiseProbe  # noqa: E402
from lbw.studio.renderer import PictureRenderer  # noqa: E402

PROMPTS = {
    "subject": (
        "a large red house on a white background, flat style",
        "a large yellow house on a night background, flat style",
    ),
    "style": (
        "a large yellow circle on a night background, neon style",
        "a large green triangle on a grass background, neon style",
    ),
    "planted": ("a large red star on a white background, flat style",),
}


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of `values`, equal ones sharing the mean of theirs."""
    order = values.argsort()
    found = np.empty(len(values))
    found[order] = np.arange(len(values))
    for value in np.unique(values):
        found[values == value] = found[values == value].mean()
    return found


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Return Spearman's rank correlation, the correlation of the ranks."""
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def main() -> None:
    """Print a line for each LoRA and prompt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=ROOT / "demo/model")
    parser.add_argument("--lora-dir", type=Path, default=ROOT / "demo/loras")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of the full analysis (default 3)")
    parser.add_argument(
        "--at",
        default=",".join(map(str, AT)),
        metavar="X,…",
        help="where on the trajectory to compare, as fractions of the steps",
    )
    options, _ = parser.parse_known_args()
    host = StandaloneHost(load_pipeline(options.model, "cpu"), Library(options.lora_dir))
    maker = PictureRenderer(host, {}, {}, options.model)
    at = tuple(float(share) for share in options.at.split(","))
    print(f"{'LoRA':10} {'blocks':>6} {'ρ, one seed':>12} {'ρ, all seeds':>13} {'time, ratio':>12}")
    for name, prompts in PROMPTS.items():
        for prompt in prompts:
            asked = PictureRequest(f"{prompt} <lora:{name}:1:lbw=XYZ>", width=64, height=64, steps=20, cfg_scale=5.0)
            tensors = host.tensors(name)
            choices = tuple(Choice(b, (b,)) for b in host.architecture.blocks if b in tensors)
            settings = Settings(choices, tuple(range(1, options.seeds + 1)))
            with tempfile.TemporaryDirectory() as folder:
                store = CellStore(Path(folder), {"lora": name, "prompt": prompt})
                analysis = Analysis(settings, host.architecture, tensors, store)
                began = time.perf_counter()
                for _ in analysis.run(StandaloneCells(maker, asked)):
                    pass
                full = (time.perf_counter() - began) / options.seeds
            percents = np.array([result.mean for result in analysis.results])
            rho, spent = [], []
            for count in (1, options.seeds):
                began = time.perf_counter()
                some = replace(settings, seeds=settings.seeds[:count])
                found = noise_scan(some, host.architecture, tensors, NoiseProbe(maker, asked, at))
                spent.append((time.perf_counter() - began) / count)
                noise = {change.choice.label: change.mean for change in found}
                rho.append(spearman(np.array([noise[choice.label] for choice in choices]), percents))
            ratio = spent[0] / full
            print(f"{name:10} {len(choices):6} {rho[0]:12.3f} {rho[1]:13.3f} {ratio:12.3f}   {prompt}", flush=True)


if __name__ == "__main__":
    main()
