"""Standalone: a diffusers pipeline into which the LoRAs of a prompt are merged.

Each tensor that LoRAs change is, at any time, its base plus the sum of multiplier × ΔW. A change of block weights only
recomputes the tensors whose multipliers changed; tensors without contributions get their base back, bit for bit.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lbw.core.blocks import Site, locate
from lbw.core.errors import FileError, quote, some
from lbw.core.family import Architecture, flat
from lbw.core.lora_names import meant_name
from lbw.core.plan import ResolvedLora
from lbw.core.texts import t
from lbw.files.atomic import version
from lbw.files.lora import LoraFile, open_lora

from .base import does_not_fit
from .layers import Layer, Whole
from .pipelines import load_pipeline, pipeline_architecture, pipeline_modules, pipeline_weights

__all__ = ["Library", "StandaloneHost", "load_pipeline", "pipeline_architecture", "pipeline_modules"]

_KEPT_FILES = 4
_SHOWN = 3
_NOISE = re.compile(r"(?:^|[-_ .])(high|low)(?:[-_ .]?noise|$)", re.IGNORECASE)


class Opened(NamedTuple):
    """A LoRA file as it was read: its version at that time, its contents, and the tensors of its modules."""

    version: str
    file: LoraFile
    modules: Mapping[str, Mapping[str, torch.Tensor]]


class Library:
    """The LoRA files of a folder and its subfolders, by name; the last few stay in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: OrderedDict[tuple[Path, str], Opened] = OrderedDict()

    def find(self, name: str) -> Path | None:
        """Return the file that a tag calls `name`; it is always inside the folder, whatever `name` says."""
        files = self.files()
        return files.get(meant_name(name, files) or "")

    def names(self) -> list[str]:
        """Return the names that tags can use."""
        return list(self.files())

    def files(self) -> dict[str, Path]:
        """Return the files by the names that tags can use; if two have the same name, the first by path."""
        paths = sorted(self.folder.rglob("*.safetensors"), reverse=True)
        return dict(sorted({path.stem: path for path in paths}.items()))

    def load(self, path: Path, loaded: Architecture | None = None) -> Opened:
        """Return the file at `path`, read again only if it changed.

        loaded: the model that it will be applied to; it decides if the file alone does not.

        Raises:
            FileError: it cannot be read, or is for an unknown model.
        """
        mark = version(path)
        key = path, loaded.name if loaded else ""
        known = self._open.get(key)
        if known is None or known.version != mark:
            file = open_lora(path, loaded)
            # Copies: the format's library maps the file, so its tensors change or vanish with the file.
            known = Opened(mark, file, {m: {n: t.clone() for n, t in own.items()} for m, own in file.parameters()})
        self._open[key] = known
        self._open.move_to_end(key)
        while len(self._open) > _KEPT_FILES:
            self._open.popitem(last=False)
        return known


class Target(NamedTuple):
    """Where a module of the original checkpoint is in the pipeline.

    component: of the pipeline. encoder, path: as in `Site`.
    """

    component: str
    encoder: int
    path: str


@dataclass(frozen=True)
class Contribution:
    """What one module of a LoRA adds: multiplier × its ΔW, to `parts` of a layer, or to all of it without parts.

    version: of the file, which may have been replaced since.
    """

    file: Path
    version: str
    module: str
    parts: tuple[str, ...]
    multiplier: float


Contributions = dict[Target, list[Contribution]]

_UNKNOWN = (Contribution(Path(), "", "unknown", (), 0.0),)
"""Set if a merge or a restoration was not completed: never equal to what is wanted."""


class StandaloneHost:
    """A diffusers pipeline, and the LoRAs that are merged into it."""

    title = "diffusers"

    def __init__(self, pipeline: Any, library: Library) -> None:
        self.pipeline = pipeline
        self.library = library
        self.architecture = pipeline_architecture(pipeline)
        self.merged_tensors = 0
        self._wholes: dict[Target, Whole] = {}
        self._components: dict[tuple[int, str], list[str]] = {}
        self._index()
        self._in_force: dict[Target, tuple[Contribution, ...]] = {}

    def _index(self) -> None:
        layers: dict[int, Layer] = {}  # two modules may share a weight
        for component, name, module, attribute in pipeline_weights(self.pipeline):
            site = self._in_adapter(locate(name, self.architecture))
            target = Target(component, site.encoder, site.path)
            if target not in self._wholes:
                self._wholes[target] = Whole(self._order(site.path))
                self._components.setdefault((site.encoder, site.path), []).append(component)
            self._wholes[target].layers.append(
                (site.parts, layers.setdefault(id(getattr(module, attribute)), Layer(module, attribute)))
            )

    def _order(self, path: str) -> tuple[str, ...]:
        """Return the parts of the original's module at `path`, top to bottom; empty if it is not fused."""
        fused = self.architecture.family.fused.items()
        return next((tuple(parts.split()) for module, parts in fused if path.endswith("_" + flat(module))), ())

    def _in_adapter(self, site: Site) -> Site:
        """Return `site`; one in the adapter after the text encoder counts as in the text encoder, like its output."""
        adapter = self.architecture.family.adapter
        return site._replace(encoder=1) if adapter and site.path.startswith(adapter) else site

    def apply(self, loras: Sequence[ResolvedLora]) -> list[str]:
        """Merge `loras`, in prompt order; return a message for each that was not found or does not fit, and remarks.

        Touches the tensors whose multipliers differ from what is in force. If anything fails, the base weights
        are restored before the error is raised; what cannot be restored then is restored by the next call.

        Raises:
            FileError: a file cannot be read or was replaced in the meantime, or a module does not fit its weight.
        """
        problems: list[str] = []
        wanted: Contributions = {}
        for lora in loras:
            name = lora.request.name
            path = self.library.find(name)
            if path is None:
                missing = t("LoRA {name} was not found in {folder}", name=quote(name), folder=self.library.folder)
                problems.append(t("{message}; it is ignored", message=missing))
            else:
                problems += self._want(lora, path, wanted)
        new = {target: tuple(contributions) for target, contributions in wanted.items()}
        try:
            for target in self._in_force.keys() | new.keys():
                if self._in_force.get(target, ()) != new.get(target, ()):
                    self._merge(target, new.get(target, ()))
        except BaseException:
            self.restore()
            raise
        self._in_force = new
        return problems

    def encoder_state(self) -> tuple[object, ...]:
        """Return what is merged into the text encoders: with equal states they encode a prompt in the same way."""
        entries = ((target, contributions) for target, contributions in self._in_force.items() if target.encoder)
        return tuple(sorted(entries, key=lambda entry: entry[0]))

    def base_weight(self, site: Site) -> torch.Tensor | None:
        """Return the base weight at `site`, with split layers concatenated; None if the model has none."""
        site = self._in_adapter(site)
        for component in self._components.get((site.encoder, site.path), ()):
            return self._wholes[Target(component, site.encoder, site.path)].base(site.parts)
        return None

    def tensors(self, name: str) -> dict[str, int]:
        """Return how many tensors of the loaded model the LoRA `name` changes in each block.

        Raises:
            FileError: there is no such LoRA, or it cannot be read.
        """
        path = self.library.find(name)
        if path is None:
            looked = {"name": quote(name), "folder": self.library.folder}
            there = ", ".join(self.library.names())
            if not there:
                raise FileError(t("LoRA {name} was not found in {folder}, which has none", **looked))
            raise FileError(t("LoRA {name} was not found in {folder}, which has {names}", names=there, **looked))
        _, file, modules = self.library.load(path, self.architecture)
        counts: dict[str, int] = {}
        for module, parameters in modules.items() if self._is_for_this(file) else ():
            site, targets = self._targets(module, parameters, path)
            if targets:
                counts[site.block] = counts.get(site.block, 0) + 1
        return counts

    def _is_for_this(self, file: LoraFile) -> bool:
        return file.architecture.family is self.architecture.family

    def _targets(self, module: str, parameters: Mapping[str, torch.Tensor], path: Path) -> tuple[Site, list[Target]]:
        """Return where `module` of the LoRA at `path` is, and what it changes in the pipeline."""
        site = self._in_adapter(locate(module, self.architecture))
        components = self._components.get((site.encoder, site.path), [])
        if not site.encoder and len(components) > 1:
            components = _of_several(components, path)
        targets = (Target(component, site.encoder, site.path) for component in components)
        return site, [target for target in targets if self._wholes[target].rows(site.parts, parameters)]

    def _want(self, lora: ResolvedLora, path: Path, wanted: Contributions) -> list[str]:
        """Add the contributions of `lora` to `wanted`, by tensor; return messages about it."""
        name = lora.request.name
        mark, file, modules = self.library.load(path, self.architecture)
        remarks = [t("LoRA {name}: {message}", name=quote(name), message=remark) for remark in file.remarks]
        if not self._is_for_this(file):
            return [does_not_fit(name, self.architecture, str(path))]
        missing = []
        for module, parameters in modules.items():
            site, targets = self._targets(module, parameters, path)
            if not targets:
                missing.append(module)
                continue
            multiplier = lora.multiplier(site)
            if multiplier != 0:
                for target in targets:
                    wanted.setdefault(target, []).append(Contribution(path, mark, module, site.parts, multiplier))
        if len(missing) == len(modules):
            return [does_not_fit(name, self.architecture), *remarks]
        if missing:
            message = _without_place(missing, self.architecture)
            remarks.append(t("LoRA {name}: {message}", name=quote(name), message=message))
        return remarks

    @torch.no_grad()
    def _merge(self, target: Target, contributions: Sequence[Contribution]) -> None:
        self._in_force[target] = _UNKNOWN
        self.merged_tensors += self._wholes[target].merge(
            [(c.multiplier, c.parts, self._parameters(c)) for c in contributions]
        )

    def _parameters(self, contribution: Contribution) -> Mapping[str, torch.Tensor]:
        opened = self.library.load(contribution.file, self.architecture)
        if opened.version != contribution.version:
            raise FileError(t("{path} was replaced while it was being applied", path=contribution.file))
        return opened.modules[contribution.module]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the base of every tensor, bit for bit; errors are raised after all others have been restored."""
        errors = []
        for target in list(self._in_force):
            self._in_force[target] = _UNKNOWN
            try:
                self._wholes[target].restore()
            except BaseException as error:
                errors.append(error)
            else:
                del self._in_force[target]
        if errors:
            raise errors[0]


def _of_several(components: list[str], path: Path) -> list[str]:
    """Return which of a pipeline's denoisers, the main one first, the LoRA at `path` changes.

    A numbered denoiser takes over from the main one at some step and uses the same LoRAs, except for LoRAs published in
    pairs, whose file names say that they are for high noise (the main one) or for low noise. Other denoisers are left
    unchanged, as in diffusers.
    """
    main, *others = [component for n, component in enumerate(components) if n == 0 or component[-1].isdigit()]
    noise = {match.lower() for match in _NOISE.findall(path.stem)}
    if not others or len(noise) != 1:
        return [main, *others]
    return [main] if noise == {"high"} else others


def _without_place(modules: list[str], architecture: Architecture) -> str:
    model = architecture.title
    if len(modules) == 1:
        return t(
            "1 module has no effect: the loaded model ({model}) has no such layers: {name}",
            model=model,
            name=modules[0],
        )
    return t(
        "{count} modules have no effect: the loaded model ({model}) has no such layers: {names}",
        count=len(modules),
        model=model,
        names=some(modules, _SHOWN),
    )
