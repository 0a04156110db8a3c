"""Without a WebUI: a diffusers pipeline whose weights carry the LoRAs of a prompt.

Weights are merged: each tensor that LoRAs change is, at any time, its base plus the sum of multiplier × ΔW. A
change of block weights computes anew the tensors whose multipliers changed, and no others; a tensor without
contributions gets its base back bit for bit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lbw.core.architectures import FAMILIES
from lbw.core.blocks import Site, locate
from lbw.core.detect import detect_model
from lbw.core.errors import FileError, HostError, quote
from lbw.core.family import Architecture
from lbw.core.lora_names import meant_name
from lbw.core.plan import ResolvedLora
from lbw.files.delta import Delta, delta
from lbw.files.lora import LoraFile, open_lora

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")
_KEPT_FILES = 4


def pipeline_modules(pipeline: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the pipeline's layers that have a weight, with the component's name before theirs."""
    for component in COMPONENTS:
        model = getattr(pipeline, component, None)
        if model is None:
            continue
        for name, module in model.named_modules():
            if isinstance(getattr(module, "weight", None), torch.nn.Parameter):
                yield f"{component}.{name}", module


def pipeline_architecture(pipeline: Any) -> Architecture:
    """Return the pipeline's architecture.

    Raises:
        HostError: it is none that is known.
    """
    shapes = {f"{name}.weight": tuple(module.weight.shape) for name, module in pipeline_modules(pipeline)}
    found = detect_model(shapes)
    if found is None:
        raise HostError(f"a {type(pipeline).__name__} is of no family whose blocks are known")
    return found


class Library:
    """The LoRA files of a folder and its folders, by name; the last few stay in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[Path, tuple[int, LoraFile, dict[str, dict[str, torch.Tensor]]]] = OrderedDict()

    def find(self, name: str) -> Path | None:
        """Return the file that a tag calls `name`; it lies in the folder, whatever `name` says."""
        files = self.files()
        return files.get(meant_name(name, files) or "")

    def names(self) -> list[str]:
        """Return the names that tags may use."""
        return list(self.files())

    def files(self) -> dict[str, Path]:
        """Return the files by the names that tags may use; of two with one name, the first by path."""
        paths = sorted(self.folder.rglob("*.safetensors"), reverse=True)
        return dict(sorted({path.stem: path for path in paths}.items()))

    def load(self, path: Path) -> tuple[LoraFile, Mapping[str, Mapping[str, torch.Tensor]]]:
        """Return the file and its modules' tensors, read again only if it changed.

        Raises:
            FileError: it cannot be read.
        """
        mark = path.stat().st_mtime_ns if path.exists() else 0
        known = self._open.get(path)
        if known is None or known[0] != mark:
            file = open_lora(path)
            known = (mark, file, dict(file.parameters()))
        self._open[path] = known
        self._open.move_to_end(path)
        while len(self._open) > _KEPT_FILES:
            self._open.popitem(last=False)
        return known[1], known[2]


class _Target:
    """The layers that one module of a LoRA changes: one, or several that the original has fused into one."""

    def __init__(self, modules: Sequence[torch.nn.Module]) -> None:
        self.modules = list(modules)
        self.base: list[tuple[torch.Tensor, torch.Tensor | None]] | None = None

    def weight(self) -> torch.Tensor:
        """Return the base weight, of fused layers one after the other."""
        if self.base is None:
            self.base = [
                (m.weight.detach().clone(), m.bias.detach().clone() if getattr(m, "bias", None) is not None else None)
                for m in self.modules
            ]
        weights = [weight for weight, _ in self.base]
        return weights[0] if len(weights) == 1 else torch.cat(weights)

    def restore(self) -> None:
        """Give the layers their base back, bit for bit."""
        for module, (weight, bias) in zip(self.modules, self.base or []):
            module.weight.data.copy_(weight)
            if bias is not None:
                module.bias.data.copy_(bias)

    def merge(self, changes: Sequence[tuple[float, Delta]]) -> None:
        """Set the layers to base + Σ multiplier × ΔW, summed in float32."""
        total = sum((multiplier * d.weight for multiplier, d in changes), torch.zeros(()))
        biases = [multiplier * d.bias.float() for multiplier, d in changes if d.bias is not None]
        place = 0
        assert self.base is not None
        for module, (weight, bias) in zip(self.modules, self.base):
            rows = weight.shape[0]
            part = total[place : place + rows].to(weight.device)
            module.weight.data.copy_((weight.float() + part).to(weight.dtype))
            if bias is not None:
                change = sum(
                    (b[place : place + rows].to(weight.device) for b in biases), torch.zeros_like(bias).float()
                )
                module.bias.data.copy_((bias.float() + change).to(bias.dtype) if biases else bias)
            place += rows


class StandaloneHost:
    """A diffusers pipeline, and the LoRAs that are merged into it."""

    title = "diffusers"

    def __init__(self, pipeline: Any, library: Library) -> None:
        self.pipeline = pipeline
        self.library = library
        self.architecture = pipeline_architecture(pipeline)
        self.merged_tensors = 0
        self._targets = self._index()
        self._in_force: dict[tuple[int, str], tuple[tuple[Path, str, float], ...]] = {}

    def _index(self) -> dict[tuple[int, str], _Target]:
        layers: dict[tuple[int, str], list[torch.nn.Module]] = {}
        for name, module in pipeline_modules(self.pipeline):
            site = locate(name, self.architecture)
            layers.setdefault((site.encoder, site.path), []).append(module)
        return {place: _Target(modules) for place, modules in layers.items()}

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        """Merge `loras`, in prompt order; return a message for each that was not found or changes nothing here.

        Touches the tensors whose multipliers differ from what is in force. If anything fails, the base weights
        are restored before the error is raised.

        Raises:
            FileError: a file cannot be read, or a module does not fit its weight.
        """
        problems: list[str] = []
        wanted: dict[tuple[int, str], list[tuple[Path, str, float]]] = {}
        for lora in loras:
            name = lora.request.name
            path = self.library.find(name)
            if path is None:
                problems.append(f"LoRA {quote(name)} was not found in {self.library.folder}; it is left out")
                continue
            fitting = self._wants(lora, path, wanted)
            if not fitting:
                problems.append(
                    f"LoRA {quote(name)} does not fit the loaded model ({self.architecture.title}): it changes nothing"
                )
        new = {place: tuple(entries) for place, entries in wanted.items()}
        try:
            for place in self._in_force.keys() | new.keys():
                if self._in_force.get(place, ()) != new.get(place, ()):
                    self._merge(place, new.get(place, ()))
        except BaseException:
            self.restore()
            raise
        self._in_force = new
        return problems

    def encoder_state(self) -> tuple[object, ...]:
        """Return what the text encoders have merged: equal states encode a prompt alike."""
        return tuple(sorted((place, entries) for place, entries in self._in_force.items() if place[0]))

    def base_weight(self, site: Site) -> torch.Tensor | None:
        """Return the base weight at `site`, of fused layers one after the other; None where the model has none."""
        target = self._targets.get((site.encoder, site.path))
        return target.weight() if target else None

    def tensors(self, name: str) -> dict[str, int]:
        """Return how many tensors of the loaded model the LoRA `name` changes in each block.

        Raises:
            FileError: there is no such LoRA, or it cannot be read.
        """
        path = self.library.find(name)
        if path is None:
            there = ", ".join(self.library.names()) or "none"
            raise FileError(f"LoRA {quote(name)} was not found in {self.library.folder}; there are {there}")
        file, modules = self.library.load(path)
        counts: dict[str, int] = {}
        for site in (locate(module, file.architecture) for module in modules):
            if (site.encoder, site.path) in self._targets:
                counts[site.block] = counts.get(site.block, 0) + 1
        return counts

    def _wants(
        self, lora: ResolvedLora, path: Path, wanted: dict[tuple[int, str], list[tuple[Path, str, float]]]
    ) -> bool:
        """Add to `wanted` what `lora` contributes to which tensor; tell whether anything of it fits the model."""
        file, modules = self.library.load(path)
        fitting = False
        for name in modules:
            site = locate(name, file.architecture)
            place = (site.encoder, site.path)
            if place not in self._targets:
                continue
            fitting = True
            multiplier = lora.multiplier(site)
            if multiplier != 0:
                wanted.setdefault(place, []).append((path, name, multiplier))
        return fitting

    @torch.no_grad()
    def _merge(self, place: tuple[int, str], entries: Sequence[tuple[Path, str, float]]) -> None:
        target = self._targets[place]
        self.merged_tensors += 1
        weight = target.weight()
        # Marked as unknown until it is done: an interrupt in between must not leave it for merged.
        self._in_force[place] = ((Path(), "interrupted", 0.0),)
        if entries:
            changes = [(m, delta(self.library.load(path)[1][name], weight)) for path, name, m in entries]
            target.merge(changes)
        else:
            target.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Give every tensor its base back, bit for bit."""
        for place in list(self._in_force):
            self._targets[place].restore()
        self._in_force = {}


def load_pipeline(path: Path, device: str | None = None, half: bool | None = None, config: Path | None = None) -> Any:
    """Return the diffusers pipeline of a folder or of a single-file checkpoint.

    device: "cpu", "cuda" or "mps"; the best one there is if not given. half: half precision; on a GPU by default.
    config: of a single-file checkpoint's family, a folder as diffusers has it; fetched by diffusers if not given.

    Raises:
        FileError: there is no model at `path`, or it is of an unknown family.
    """
    _quiet()
    import diffusers

    device = device or ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    dtype = torch.float16 if (device != "cpu" if half is None else half) else torch.float32
    try:
        if path.is_dir():
            if not (path / "model_index.json").is_file():
                raise FileError(f"{path} is no model folder: it has no model_index.json")
            pipeline = diffusers.DiffusionPipeline.from_pretrained(
                path, torch_dtype=dtype, local_files_only=True, use_safetensors=True
            )
        elif path.is_file():
            pipeline = _single_file(path, dtype, config)
        else:
            raise FileError(f"there is no model at {path}")
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        advice = "; without a network, give its configuration with --config" if path.is_file() and not config else ""
        raise FileError(f"{path} cannot be loaded as a model: {reason}{advice}") from error
    pipeline.set_progress_bar_config(disable=True)
    if getattr(pipeline, "safety_checker", None) is not None:
        pipeline.safety_checker = None
    return pipeline.to(device)


def _quiet() -> None:
    """Keep the libraries' own progress bars and advice off the terminal; their errors come through."""
    import os
    import warnings

    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _single_file(path: Path, dtype: torch.dtype, config: Path | None) -> Any:
    import diffusers

    from lbw.files.header import read_header

    shapes = read_header(path).shapes
    architecture = detect_model(shapes)
    if architecture is None or architecture.family.is_guess:
        known = ", ".join(family.title for family in FAMILIES)
        raise FileError(f"{path} is a checkpoint of no family that is known; known are {known}")
    name = architecture.family.pipeline[0]
    pipeline_class = getattr(diffusers, name, None)
    if pipeline_class is None:
        raise FileError(
            f"{path} is a {architecture.title} checkpoint, which diffusers {diffusers.__version__} has no {name} for"
        )
    if config is not None and not (config / "model_index.json").is_file():
        raise FileError(f"{config} is no configuration folder: it has no model_index.json")
    local = {"config": str(config), "local_files_only": True} if config is not None else {}
    return pipeline_class.from_single_file(str(path), torch_dtype=dtype, **local)
