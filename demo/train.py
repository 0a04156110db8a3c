"""Makes the whole demo from nothing: ``python demo/train.py``.

Stages, each of which goes on where it was stopped (its state lies in demo/.train/):
vae, model, loras, planted, sheet.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

STAGES = ("vae", "model", "loras", "planted", "sheet")
STEPS = {"vae": 3200, "model": 6000, "loras": 400}
PICTURES = {"vae": 3000, "model": 16384, "loras": 1024}
FAST_STEPS, FAST_PICTURES = 10, 64


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="train.py", description=__doc__.splitlines()[0])
    parser.add_argument("--stage", choices=STAGES, action="append", help="only this stage")
    parser.add_argument("--fast", action="store_true", help="a few steps of each, for a test")
    parser.add_argument("--seed", type=int, default=7, help="seed of everything (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="0: the faster of one and two")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to (default: demo/)")
    return parser.parse_args(arguments)


def run_stage(stage: str, options: argparse.Namespace) -> None:
    """Runs one stage."""
    from store import Places

    places = Places(options.out.resolve())
    if stage in STEPS:
        import stage_base
        import stage_loras
        import stage_vae

        run = {"vae": stage_vae.run, "model": stage_base.run, "loras": stage_loras.run}[stage]
        steps, pictures = STEPS[stage], PICTURES[stage]
        if options.fast:
            steps, pictures = FAST_STEPS, FAST_PICTURES
        run(places, options.seed, steps, pictures, options.threads)
    elif stage == "planted":
        import stage_planted

        stage_planted.run(places)
    else:
        import stage_sheet

        stage_sheet.run(places, options.seed, 6 if options.fast else 96)


def main(arguments: list[str] | None = None) -> int:
    """Runs the stages that were asked for; 130 after Ctrl-C, with everything saved."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    import torch

    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads or 1)
    try:
        for stage in options.stage or STAGES:
            began = time.monotonic()
            run_stage(stage, options)
            print(f"{stage}: done in {(time.monotonic() - began) / 60:.1f} min", flush=True)
    except KeyboardInterrupt:
        print("stopped; what was done is kept, start again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
