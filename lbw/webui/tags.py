"""The LoRA tags of one activation: reads and removes our own items, and leaves the rest to the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lbw.core.detect import guess_message
from lbw.core.errors import FileError, LbwError, quote
from lbw.core.family import Architecture
from lbw.core.lora_names import meant_name, not_found
from lbw.core.plan import ResolvedLora, resolve_request
from lbw.core.presets import merged
from lbw.core.steps import Span
from lbw.core.tag import LoraRequest, parse_items, unclosed_tag
from lbw.core.texts import t
from lbw.files.atomic import version
from lbw.files.user_presets import PresetStore
from lbw.hosts import unknown
from lbw.hosts.base import Host

from .options import RequestOptions


class FileVersions:
    """The versions of the LoRA files that the host has read: it may cache a file that was replaced since."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, str]] = {}  # by file: at the first and at the last application

    def look(self, filename: str) -> tuple[str, bool]:
        """Return a file's version, empty for the first one, and whether it has changed since the last check."""
        first, last = self._known.get(filename, ("", ""))
        now = version(Path(filename))
        self._known[filename] = first or now, now
        return "" if first in ("", now) else now, last not in ("", now)


@dataclass(frozen=True)
class Pass:
    """The context of the tags: the steps of the pass, the seed of its first picture, the options of the request."""

    steps: int
    seed: int
    options: RequestOptions


@dataclass
class Asked:
    """The requests of the tags, before the host has loaded anything.

    kept: the host's own objects for the tags that are left to it. problems, remarks: messages for the user.
    replaced: the files that were replaced since the last activation.
    """

    kept: list[Any] = field(default_factory=list)
    loras: list[ResolvedLora] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


def lora_tags(data: Any, registry: Mapping[str, Any]) -> list[Any]:
    """Return the LoRA tags among those of a prompt; `lyco` counts as `lora` if it is just another name for it.

    data: the host's tags by kind, with `lyco` moved to `lora`. registry: the host's extra networks.
    """
    if not data:
        return []
    if "lyco" in data and registry.get("lyco") in (None, registry.get("lora")):
        data["lora"] = [*data.get("lora", ()), *data.pop("lyco")]
    return list(data.get("lora") or ())


def read_tags(tags: list[Any], given: Pass, host: Host | None, store: PresetStore, versions: FileVersions) -> Asked:
    """Return the requests of `tags`, the host's own objects; each keeps only what the host understands.

    host: None for an unknown WebUI, which applies them on its own.
    """
    asked = Asked()
    if tags:
        presets, elements = _presets(store, given.options, asked)
        architecture = host.architecture() if host is not None else None
        reader = _Reader(host, architecture, presets, elements, versions, given, asked)
        for tag in tags:
            reader.read(tag)
    return asked


def _presets(store: PresetStore, options: RequestOptions, asked: Asked) -> tuple[Mapping[str, str], Mapping[str, str]]:
    try:
        return merged(store.presets(), options.presets), {**store.elements(), **options.elements}
    except FileError as error:
        asked.problems.append(str(error))
        return options.presets, options.elements


@dataclass(frozen=True)
class _Reader:
    """The context for reading the tags of one activation, and their requests so far."""

    host: Host | None
    architecture: Architecture | None
    presets: Mapping[str, str]
    elements: Mapping[str, str]
    versions: FileVersions
    given: Pass
    asked: Asked

    def read(self, tag: Any) -> None:
        """Add the request of `tag`."""
        # A pass may be activated twice: items removed the first time are kept with the tag.
        items = tag.__dict__.setdefault("lbw_items", list(tag.items))
        found = self._found(_checked(parse_items(items, self.presets), self.given.steps))
        if found is None:
            return
        request, filename = found
        self.asked.kept.append(tag)
        if self.given.options.enabled:
            self.asked.remarks += [_of(request, remark) for remark in request.remarks]
        else:
            request = _plain(request)
        if self.architecture is None:
            _leave_to_host(tag, request, "")
            if not request.is_plain:
                self.asked.problems.append(self._nothing_known(request))
            return
        resolved = resolve_request(request, self.architecture, self.presets, self.elements, self.given.seed)
        resolved = self._of_file(resolved, filename)
        self.asked.loras.append(resolved)
        if self.architecture.family.is_guess and not request.is_plain:
            self.asked.remarks.append(guess_message(self.architecture))
        self.asked.problems += [_of(request, problem) for problem in resolved.problems]
        _leave_to_host(tag, request, resolved.encoder_digest)

    def _found(self, request: LoraRequest) -> tuple[LoraRequest, str] | None:
        """Return `request` with the host's name for its LoRA, and the file; None if there is none."""
        if self.host is None:
            return request, ""
        filename = self.host.find(request.name)
        if filename is not None:
            return request, filename
        known = self.host.lora_files()
        meant = meant_name(request.name, known)
        if meant is None:
            self.asked.problems.append(t("{message}; it is ignored", message=not_found(request.name, known)))
            return None
        self.asked.remarks.append(t("LoRA {name} is called {other} here", name=quote(request.name), other=quote(meant)))
        return replace(request, name=meant, host_items=(meant, *request.host_items[1:])), known[meant]

    def _of_file(self, resolved: ResolvedLora, filename: str) -> ResolvedLora:
        """Return `resolved` for the current file; a file that changed since the last activation is recorded."""
        file_version, is_replaced = self.versions.look(filename)
        if is_replaced:
            self.asked.replaced.append(filename)
        return replace(resolved, file_version=file_version)

    def _nothing_known(self, request: LoraRequest) -> str:
        reason = t("the blocks of the loaded model are unknown")
        if self.host is None:
            reason = t("{webui} is not a known WebUI", webui=unknown.webui_name())
        return t("LoRA {name} is applied without block weights: {reason}", name=quote(request.name), reason=reason)


def unclosed(p: Any) -> list[str]:
    """Return messages about unclosed tags in the prompts of `p`; the host leaves them in the text."""
    prompts = getattr(p, "prompts", None) or [getattr(p, "prompt", "")]
    found = (unclosed_tag(str(prompt)) for prompt in prompts)
    return list(dict.fromkeys(text for text in found if text))


def _of(request: LoraRequest, message: object) -> str:
    return t("LoRA {name}: {message}", name=quote(request.name), message=message)


def _checked(request: LoraRequest, steps: int) -> LoraRequest:
    """Return `request`; if start comes after stop in a pass of `steps` steps, without both and with the error."""
    try:
        request.span.check(steps)
    except LbwError as error:
        return replace(request, span=Span(), problems=(*request.problems, error))
    return request


def _plain(request: LoraRequest) -> LoraRequest:
    """Return `request` without our items, because block weights are switched off."""
    return LoraRequest(request.name, request.te, request.unet, request.dyn, host_items=request.host_items)


def _leave_to_host(tag: Any, request: LoraRequest, encoder_digest: str) -> None:
    """Leave in `tag`, the host's own object, what the host understands.

    The host also compares its `items` to decide whether to reuse the text conditioning, so they differ if the text
    encoders' block weights do.
    """
    items = list(request.host_items)
    tag.positional = [item for index, item in enumerate(items) if index == 0 or item.count("=") != 1]
    tag.named = dict(item.split("=") for item in items[1:] if item.count("=") == 1)
    tag.items = items + ([f"text encoder {encoder_digest}"] if encoder_digest else [])
