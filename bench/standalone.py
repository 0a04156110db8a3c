"""Switching block weights on the standalone host, beside reloading the LoRA through diffusers.

Both are timed in turn in one process, on the bundled model, and on a U-Net of SDXL's size with random weights if
`--sdxl` is given; ratios are medians over neighbouring pairs. Run it with the studio's environment:

    python run.py bench                     or   .venv/bin/python bench/standalone.py --runs 9
    .venv/bin/python bench/standalone.py --sdxl --device cuda
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import parse_tag  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline, pipeline_modules  # noqa: E402

BLOCKS = ("IN04", "IN05", "IN07", "IN08", "M00", "OUT00", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05")


def seconds(action: Callable[[], object], device: str) -> float:
    """Return how long `action` took, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    action()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def sdxl_pipeline(device: str, half: bool) -> object:
    """Return something with a `unet` of SDXL's size, random weights, and diffusers' LoRA loading."""
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
            use_linear_projection=True,
        )
    unet = unet.to_empty(device=device).to(torch.float16 if half else torch.float32)
    generator = torch.Generator(device).manual_seed(1)
    for parameter in unet.parameters():
        parameter.data.normal_(0, 0.02, generator=generator)
    return StableDiffusionXLPipeline(None, None, None, None, None, unet, None)


def random_lora(pipeline: object, folder: Path, rank: int = 16) -> Path:
    """Write a LoRA of the attention layers of the pipeline's U-Net, in PEFT's naming."""
    tensors = {}
    for name, module in pipeline_modules(pipeline):
        if not name.startswith("unet.") or not name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            continue
        rows, columns = module.weight.shape
        tensors[f"{name}.lora_A.weight"] = torch.randn(rank, columns, dtype=torch.float16) / columns**0.5
        tensors[f"{name}.lora_B.weight"] = torch.randn(rows, rank, dtype=torch.float16) * 0.02
    path = folder / "random.safetensors"
    save_file(tensors, path)
    return path


def diffusers_scales(block: str) -> dict[str, object]:
    """Return diffusers' own scales for the layout 12, with one block at 0."""
    zero = {name: float(name != block) for name in BLOCKS}
    return {
        "down": {"block_1": [zero["IN04"], zero["IN05"]], "block_2": [zero["IN07"], zero["IN08"]]},
        "mid": zero["M00"],
        "up": {
            "block_0": [zero["OUT00"], zero["OUT01"], zero["OUT02"]],
            "block_1": [zero["OUT03"], zero["OUT04"], zero["OUT05"]],
        },
    }


def measure(pipeline: object, lora: Path, runs: int, device: str) -> None:
    """Print the medians of both ways, and the ratio."""
    adapter = "bench"

    def ours(host: StandaloneHost, block: str) -> None:
        request = parse_tag(f"<lora:{lora.stem}:1:lbw=1,{block}=0>", {})
        host.apply([resolve_request(request, host.architecture, {}, {})])

    def theirs(block: str) -> None:
        pipeline.load_lora_weights(str(lora), adapter_name=adapter)  # type: ignore[attr-defined]
        pipeline.set_adapters([adapter], adapter_weights=[{"unet": diffusers_scales(block)}])  # type: ignore[attr-defined]
        pipeline.unload_lora_weights()  # type: ignore[attr-defined]

    library = Library(lora.parent)
    pairs = []
    for number in range(runs):
        block, before = BLOCKS[number % len(BLOCKS)], BLOCKS[number % len(BLOCKS) - 1]
        host = StandaloneHost(pipeline, library)
        ours(host, before)
        a = seconds(lambda host=host, block=block: ours(host, block), device)  # type: ignore[misc]
        host.restore()
        b = seconds(lambda block=block: theirs(block), device)  # type: ignore[misc]
        pairs.append((a, b))
    first, second = (statistics.median(column) for column in zip(*pairs))
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"  one block changed, ours:               {first * 1000:9.1f} ms")
    print(f"  load_lora_weights + set_adapters:      {second * 1000:9.1f} ms")
    print(f"  ratio:                                 {ratio:9.3f}")
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(f"  peak memory of the process so far:     {peak / 2**20:9.0f} MiB")


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sdxl", action="store_true", help="also a U-Net of SDXL's size (10 GB in float32 on a CPU)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = load_pipeline(ROOT / "demo" / "model", options.device)
        print("bundled model")
        measure(pipeline, random_lora(pipeline, Path(folder)), options.runs, options.device)
        if options.sdxl:
            half = True
            pipeline = sdxl_pipeline(options.device, half)
            print("U-Net of SDXL's size, random weights, half precision")
            measure(pipeline, random_lora(pipeline, Path(folder)), options.runs, options.device)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
