"""What the extension computes at each activation, in microseconds: no WebUI, no torch.

    python bench/hook.py

For each activation of a LoRA the extension reads the tag, resolves its block weights, tells whether the text
conditioning may be used again, and plans a multiplier for each of the LoRA's modules. Here for a LoRA for SD 1.x
with 264 modules and one for SDXL with 722, in kohya's naming. The host's own work is not in it: see webui.py.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lbw.core.architectures import ARCHITECTURES  # noqa: E402
from lbw.core.blocks import locate  # noqa: E402
from lbw.core.family import Architecture  # noqa: E402
from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.presets import parse_presets  # noqa: E402
from lbw.core.tag import parse_items  # noqa: E402

# By stage of the U-Net, as diffusers names it: how many attention blocks, of how many transformer blocks each.
UNETS = {
    "sd1": {
        **{f"down_blocks_{stage}": (2, 1) for stage in (0, 1, 2)},
        "mid_block": (1, 1),
        **{f"up_blocks_{stage}": (3, 1) for stage in (1, 2, 3)},
    },
    "sdxl": {
        "down_blocks_1": (2, 2),
        "down_blocks_2": (2, 10),
        "mid_block": (1, 10),
        "up_blocks_0": (3, 10),
        "up_blocks_1": (3, 2),
    },
}
IN_TRANSFORMER = (
    *(f"attn{n}_to_{part}" for n in (1, 2) for part in ("q", "k", "v", "out_0")),
    "ff_net_0_proj",
    "ff_net_2",
)
IN_ENCODER = (*(f"self_attn_{part}_proj" for part in ("q", "k", "v", "out")), "mlp_fc1", "mlp_fc2")


def modules(architecture: str) -> Iterator[str]:
    """Yield the names of the modules of a LoRA that trains attention; with the text encoder's for SD 1.x."""
    for stage, (blocks, depth) in UNETS[architecture].items():
        for block in range(blocks):
            attention = f"lora_unet_{stage}_attentions_{block}"
            yield f"{attention}_proj_in"
            for transformer in range(depth):
                yield from (f"{attention}_transformer_blocks_{transformer}_{part}" for part in IN_TRANSFORMER)
            yield f"{attention}_proj_out"
    if architecture == "sd1":
        for layer in range(12):
            yield from (f"lora_te_text_model_encoder_layers_{layer}_{part}" for part in IN_ENCODER)


def microseconds(work: Callable[[], object], runs: int, before: Callable[[], object] | None = None) -> list[float]:
    """Return what `runs` calls of `work` took each, after a few to warm up; `before` is called before each, untimed."""
    result = []
    for run in range(-5, runs):
        if before is not None:
            before()
        start = time.perf_counter_ns()
        work()
        if run >= 0:
            result.append((time.perf_counter_ns() - start) / 1000)
    return result


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="activations timed in each case (default 300)")
    runs = parser.parse_args().runs
    presets = parse_presets((ROOT / "presets" / "lbwpresets.txt").read_text(encoding="utf-8")).presets

    print("| model | activation | median µs | min µs | to parsing |")
    print("| --- | --- | --- | --- | --- |")
    for model, layout in (("sd1", 17), ("sdxl", 12)):
        architecture, names = ARCHITECTURES[model], list(modules(model))
        measured = measure(architecture, names, layout, presets, runs)
        parsing = statistics.median(measured["parsing the tag alone"])
        for name, times in measured.items():
            median = statistics.median(times)
            where = f"{model}, {len(names)} modules"
            print(f"| {where} | {name} | {median:.1f} | {min(times):.1f} | {median / parsing:.1f} |")


def measure(
    architecture: Architecture,
    names: list[str],
    layout: int,
    presets: Mapping[str, str],
    runs: int,
) -> dict[str, list[float]]:
    """Return the microseconds of each activation, by what its tag says; without a LoRA there is nothing to do."""
    numbers = count(1)

    def weights(first: int = 700) -> list[str]:
        return ["name", "1", "1", ",".join(["lbw=1", f"{first / 1000:g}", *["0.5"] * (layout - 2)])]

    def activate(items: list[str]) -> None:
        resolved = resolve_request(parse_items(items, presets), architecture, presets, {}, seed=1)
        _ = resolved.encoder_digest, resolved.digest
        resolved.multipliers(names)

    return {
        "parsing the tag alone": microseconds(lambda: parse_items(weights(), presets), runs),
        "plain tag": microseconds(lambda: activate(["name", "1", "1"]), runs),
        f"{layout} numbers, again": microseconds(lambda: activate(weights()), runs),
        f"{layout} numbers, one changed": microseconds(lambda: activate(weights(next(numbers))), runs),
        "a preset": microseconds(lambda: activate(["name", "1", "1", "lbw=MIDD"]), runs),
        f"{layout} numbers, a LoRA never seen": microseconds(
            lambda: activate(weights()), max(runs // 10, 5), locate.cache_clear
        ),
    }


if __name__ == "__main__":
    main()
