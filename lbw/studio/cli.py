"""The command line: its commands, their options, and error handling."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from lbw import __version__
from lbw.analysis.request import RANDOM, AnalysisRequest, PictureRequest, PlotRequest
from lbw.core.errors import LbwError

OK, FAILED, WRONG_INPUT = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(prog="lbw", description="Apply LoRAs block by block.")
    top.add_argument("--version", action="version", version=f"lbw {__version__}")
    top.add_argument("--debug", action="store_true", help="show where in the program an error occurred")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    explain = commands.add_parser(
        "explain",
        help="what a tag does to a LoRA file",
        description="Show what a tag does to a LoRA file: the weight of each block, the multiplier of each module.",
    )
    explain.add_argument("tag", metavar="TAG", help='for example "<lora:name:1:lbw=MIDD>"')
    explain.add_argument("--lora", type=Path, required=True, metavar="FILE", help="the LoRA, a safetensors file")
    explain.add_argument(
        "--presets", type=Path, metavar="FILE", help="presets; default: the built-in ones and your own"
    )
    explain.add_argument("--elements", type=Path, metavar="FILE", help="elemental presets; default: likewise")
    explain.add_argument("--seed", type=int, default=0, metavar="N", help="the image's seed, for R and U (default: 0)")
    explain.add_argument("--json", action="store_true", help="print JSON")
    explain.set_defaults(run="lbw.studio.explain:run")

    blocks = commands.add_parser(
        "blocks",
        help="the blocks of a model, and how much of a LoRA or a model is in each",
        description="Print the map of a model: the id of each block, what it is, its tensors and parameters. Only the "
        "headers of files are read. Without an option, list the known models.",
    )
    source = blocks.add_mutually_exclusive_group()
    source.add_argument("--lora", type=Path, metavar="FILE", help="a LoRA, a safetensors file")
    source.add_argument("--model", type=Path, metavar="PATH", help="a checkpoint, or a diffusers folder")
    source.add_argument("--architecture", metavar="NAME", help="for example flux, or anima:B20 for another size")
    blocks.add_argument("--json", action="store_true", help="print JSON")
    blocks.set_defaults(run="lbw.studio.blocks:run")

    render = commands.add_parser(
        "render",
        help="a picture from a prompt with tags",
        description="Render a prompt with tags, as PNG with infotext.",
    )
    _prompt(render)
    _picture(render)
    render.add_argument("--count", type=int, default=1, metavar="N", help="number of pictures, each with the next seed")
    render.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a .png, or a folder")
    render.set_defaults(run="lbw.studio.commands:render")

    analyze = commands.add_parser(
        "analyze",
        help="which blocks of a LoRA change the picture",
        description="Render without each block of a LoRA in turn, and compare. Write lbw=XYZ in the tag of the LoRA.",
    )
    _prompt(analyze)
    _picture(analyze)
    _analysis(analyze)
    analyze.set_defaults(run="lbw.studio.analyze:run_analyze")

    xyz = commands.add_parser(
        "xyz",
        help="a grid over blocks, values, seeds, presets or elements",
        description="Render a grid. Write lbw=XYZ (or ZYX for one minus that) in the tag of the LoRA whose "
        "weights the axes set.",
    )
    _prompt(xyz)
    _picture(xyz)
    for name in "xyz":
        xyz.add_argument(
            f"--{name}",
            nargs=2,
            metavar=("TYPE", "VALUES"),
            help='type: "Block ID", values, seed, "Original Weights" or elements; for example --x values "0-1 (+0.25)"',
        )
    _options(xyz, PlotRequest, ("fresh",))
    _output(xyz)
    xyz.set_defaults(run="lbw.studio.analyze:run_xyz")

    analyses = commands.add_parser(
        "analyses",
        help="earlier analyses",
        description="List the analyses in an output folder, the latest first, or print the results of one of them.",
    )
    analyses.add_argument("id", nargs="?", metavar="ANALYSIS", help="the name of its folder")
    analyses.add_argument("--json", action="store_true", help="print JSON")
    _output(analyses)
    analyses.set_defaults(run="lbw.studio.analyze:run_analyses")

    scan = commands.add_parser(
        "scan",
        help="the size of a LoRA's changes, where LoRAs overlap, what each block does to the noise",
        description="Print the size of the change in each block; for two or more LoRAs their overlaps; with --prompt "
        "how the predicted noise changes without each block, in a tenth of the time of analyze.",
    )
    scan.add_argument("loras", nargs="+", type=Path, metavar="LORA", help="LoRA files")
    scan.add_argument("--prompt", metavar="PROMPT", help="with lbw=XYZ in the tag of the LoRA to scan")
    _options(scan, AnalysisRequest, ("range", "blocks", "seeds", "more_prompts", "at"))
    _picture(scan)
    scan.set_defaults(run="lbw.studio.scan:run")

    demo = commands.add_parser("demo", help="the analysis of a bundled LoRA", description="Analyze a bundled LoRA.")
    demo.add_argument(
        "prompt", nargs="?", default="a large red circle on a white background, flat style", metavar="PROMPT"
    )
    demo.add_argument("--lora", default="planted", metavar="NAME", help="planted, subject or style (default: planted)")
    _picture(demo)
    _analysis(demo)
    demo.set_defaults(run="lbw.studio.analyze:demo")

    page = commands.add_parser(
        "studio", help="the page, on this machine only", description="Open the page in the browser."
    )
    _model(page)
    page.add_argument("--port", type=int, default=7870, metavar="N", help="default: 7870")
    page.add_argument("--language", metavar="NAME", help="of the page, for example ja_JP (default: English)")
    page.add_argument("--no-browser", action="store_true", help="do not open the browser")
    page.set_defaults(run="lbw.studio.page:run")

    presets = commands.add_parser(
        "presets", help="list, check and show presets", description="List, check or show presets."
    )
    presets.add_argument("action", choices=("list", "check", "show"))
    presets.add_argument("name", nargs="?", metavar="NAME", help="the preset to show")
    presets.add_argument("--file", type=Path, metavar="FILE", help="a preset file; default: your own")
    presets.add_argument("--json", action="store_true", help="print JSON")
    presets.set_defaults(run="lbw.studio.presets:run")
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return top


def _prompt(command: argparse.ArgumentParser) -> None:
    command.add_argument("prompt", metavar="PROMPT", help="the prompt with its tags; - reads it from standard input")


def _model(command: argparse.ArgumentParser) -> None:
    """Add the options for the model and the files."""
    command.add_argument(
        "--model", type=Path, metavar="PATH", help="a diffusers folder or a checkpoint; default: the bundled one"
    )
    command.add_argument(
        "--config", type=Path, metavar="DIR", help="the checkpoint's configuration; default: downloaded by diffusers"
    )
    command.add_argument(
        "--lora-dir",
        type=Path,
        metavar="DIR",
        help="folder with LoRA files; default: the bundled ones, or the current folder",
    )
    command.add_argument("--device", choices=("cpu", "cuda", "mps"), help="default: the best available")
    command.add_argument(
        "--presets", type=Path, metavar="FILE", help="presets; default: the built-in ones and your own"
    )
    command.add_argument("--elements", type=Path, metavar="FILE", help="elemental presets; default: likewise")


def _options(command: argparse.ArgumentParser, kind: type[PictureRequest], names: Iterable[str]) -> None:
    """Add the options of a request that have a flag; their values are checked when the request is read."""
    for option in (kind.option(name) for name in names):
        if option.type == "bool":
            command.add_argument(option.flag, dest=option.name, action="store_true", default=None, help=option.meaning)
            continue
        if option.type == "tuple[str, ...]":
            command.add_argument(option.flag, dest=option.name, nargs="+", metavar="TEXT", help=option.meaning)
            continue
        has_default = option.default not in (None, "", RANDOM) and option.name not in ("steps", "cfg_scale")
        meaning = f"{option.meaning} (default: {option.default})" if has_default else option.meaning
        metavar = "|".join(option.allowed) or {"int": "N", "str": "TEXT"}.get(option.type, "X")
        command.add_argument(option.flag, dest=option.name, metavar=metavar, help=meaning.replace("%", "%%"))


def _picture(command: argparse.ArgumentParser) -> None:
    """Add the options that describe a picture."""
    _model(command)
    _options(command, PictureRequest, ("seed", "steps", "cfg_scale", "negative_prompt"))
    command.add_argument("--size", metavar="WxH", help="in pixels; default: the model's native size")
    command.add_argument("--json", action="store_true", help="print JSON")


def _analysis(command: argparse.ArgumentParser) -> None:
    """Add the options that describe an analysis."""
    own = AnalysisRequest.options().keys() - PictureRequest.options().keys()
    _options(command, AnalysisRequest, [name for name in AnalysisRequest.options() if name in own])
    command.add_argument("--mask", metavar="FILE", help="the region to look at: a picture, white inside")
    _output(command)


def _output(command: argparse.ArgumentParser) -> None:
    """Add the option for the output folder."""
    command.add_argument(
        "-o", "--output", type=Path, default=Path("lbw-output"), metavar="DIR",
        help="where each run gets a folder of its own (default: lbw-output)",
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 for success, 1 for failure, 2 for wrong input."""
    for stream in (sys.stdout, sys.stderr):
        # Names in files may contain characters that the terminal cannot show.
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    # Spinning threads slow each other down on a busy machine; this is read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    options = parser().parse_args(arguments)
    try:
        module, _, function = options.run.partition(":")
        status: int = getattr(import_module(module), function)(options)
        sys.stdout.flush()
    except LbwError as error:
        if options.debug:
            raise
        print(f"lbw: {error}", file=sys.stderr)
        return WRONG_INPUT
    except ImportError as error:
        if options.debug:
            raise
        print(f"lbw: {error}; this command needs the extra 'studio': pip install '.[studio]'", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        print("lbw: stopped", file=sys.stderr)
        return FAILED
    return status
