"""The command line: its commands, their options, and how errors end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lbw import __version__
from lbw.core.errors import LbwError

OK, FAILED, WRONG_INPUT = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="lbw", description="Apply LoRAs block by block.")
    top.add_argument("--version", action="version", version=f"lbw {__version__}")
    top.add_argument("--debug", action="store_true", help="show where in the program an error arose")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    explain = commands.add_parser(
        "explain",
        help="what a tag does to a LoRA file",
        description="Say what a tag does to a LoRA file: the weight of each block, the multiplier of each module.",
    )
    explain.add_argument("tag", metavar="TAG", help='for example "<lora:name:1:lbw=MIDD>"')
    explain.add_argument("--lora", type=Path, required=True, metavar="FILE", help="the LoRA, a safetensors file")
    explain.add_argument("--presets", type=Path, metavar="FILE", help="presets; default: the shipped ones and your own")
    explain.add_argument("--elements", type=Path, metavar="FILE", help="elemental presets; default likewise")
    explain.add_argument("--seed", type=int, default=0, metavar="N", help="the image's seed, for R and U (default: 0)")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run="lbw.studio.explain")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 it failed, 2 the input was wrong."""
    options = parser().parse_args(arguments)
    try:
        from importlib import import_module

        status: int = import_module(options.run).run(options)
        sys.stdout.flush()
    except LbwError as error:
        if options.debug:
            raise
        print(f"lbw: {error}", file=sys.stderr)
        return WRONG_INPUT
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        print("lbw: stopped", file=sys.stderr)
        return FAILED
    return status
