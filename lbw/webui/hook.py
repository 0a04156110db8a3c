"""The hook on the WebUI's LoRA loading.

The WebUI calls `modules.extra_networks.activate` for every batch, for the hires pass, and for every nested
generation. Around that call: the tags' own items are read and taken out, the host loads what it is left with,
and the host's adapter puts the multipliers in force. During sampling, LoRAs with `start` or `stop` are switched.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lbw import hosts
from lbw.core.detect import guess_message
from lbw.core.errors import FileError, HostError, LbwError, quote
from lbw.core.family import Architecture
from lbw.core.lora_names import meant_name, not_found
from lbw.core.plan import ResolvedLora, at_step, resolve_request
from lbw.core.presets import merged
from lbw.core.tag import LoraRequest, parse_items, unclosed_tag
from lbw.files.atomic import version
from lbw.files.user_presets import PresetStore
from lbw.hosts import unknown
from lbw.hosts.base import Host
from lbw.hosts.patch import Patch

from . import infotext, messages, predecessor
from .options import ON_INVALID, STOP, RequestOptions, setting


@dataclass(frozen=True)
class Prepared:
    """What the tags of one activation ask for, before the host has loaded anything.

    replaced: the files that others have taken the place of since the last activation.
    """

    loras: tuple[ResolvedLora, ...]
    problems: tuple[str, ...]
    hires: bool
    remarks: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True)
class Running:
    """A generation that has begun: the task of the WebUI that it belongs to, and what its request says.

    is_ours: whether this extension handles its tags, and not the one that people come from.
    """

    task: object
    options: RequestOptions
    is_ours: bool


class Hook:
    """Everything that lives between two activations."""

    def __init__(self, store: PresetStore) -> None:
        self.store = store
        self.installed = True
        self.host: Host | None = None
        self.loras: tuple[ResolvedLora, ...] = ()
        self.in_force: list[bool] = []
        self._running: list[Running] = []
        self._versions: dict[str, tuple[str, str]] = {}  # by LoRA file: when it was first applied, and last
        self._extra_networks: Any = None
        self._patch: Patch | None = None

    # Installing -----------------------------------------------------------------------------------

    def install(self, extra_networks: Any) -> None:
        """Put the hook around `extra_networks.activate`; one that an earlier load left there is taken off."""
        self._extra_networks = extra_networks
        self._patch = Patch(extra_networks, "activate", self.activate, give_way=self.uninstall)

    def uninstall(self) -> None:
        """Take the hook off, and give the host back as it was."""
        self.installed = False
        if self._patch is not None:
            self._patch.remove()
        if self.host is not None:
            self.host.close()
            self.host = None

    # One request ----------------------------------------------------------------------------------

    def begin(self, p: Any, options: RequestOptions, is_ours: bool = True) -> None:
        """A generation begins that carries the script's arguments; a nested one without them takes these too."""
        cell: RequestOptions | None = getattr(p, "lbw_cell", None)
        if cell is not None:
            options = RequestOptions(
                presets={**options.presets, **cell.presets}, elements={**options.elements, **cell.elements}
            )
        task = current_task()
        p.lbw_running = Running(task, options, is_ours)
        # What another task left had failed: it never came to its end.
        self._running = [*(running for running in self._running if running.task == task), p.lbw_running]
        messages.forget(p)

    def end(self, p: Any) -> None:
        """The generation `p` is at its end, and so is everything that was nested in it."""
        places = [place for place, running in enumerate(self._running) if running is getattr(p, "lbw_running", None)]
        if places:
            del self._running[places[0] :]

    def _of(self, p: Any) -> Running:
        """Return what the generation `p` says, or the one that it is nested in; nothing where it is alone."""
        own: Running | None = getattr(p, "lbw_running", None)
        if own is not None:
            return own
        task = current_task()
        cell: RequestOptions | None = getattr(p, "lbw_cell", None)
        around = [running for running in self._running if running.task == task]
        if around and cell is None:
            return around[-1]
        return Running(task, cell or RequestOptions(), not predecessor.is_in_charge(getattr(p, "scripts", None)))

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""
        return self.lora_files().get(name) if self.unknown() else self._host().find(name)

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs that the WebUI has, by name."""
        return unknown.lora_files() if self.unknown() else self._host().lora_files()

    def unknown(self) -> str:
        """Return the name and the version of the WebUI if it is none that is known; empty if it is."""
        if self.host is None:
            self.host = hosts.detect()
        return "" if self.host is not None else unknown.webui_name()

    def architecture(self) -> Architecture:
        """Return the architecture of the model that the WebUI is set to, which is loaded if it is not.

        Raises:
            HostError: this WebUI, or the blocks of its model, are not known.
        """
        host = self._host()
        host.load()
        architecture = host.architecture()
        if architecture is None:
            raise HostError("the blocks of the loaded model are not known")
        return architecture

    def loaded(self) -> Architecture | None:
        """Return the architecture of the model that is loaded; None if none is, or it is not known. Loads nothing."""
        try:
            return self._host().architecture()
        except HostError:
            return None

    def _host(self) -> Host:
        if name := self.unknown():
            raise HostError(f"{name} is none of the WebUIs that are known")
        assert self.host is not None
        return self.host

    def activate(self, original: Any, p: Any, data: Any) -> Any:
        """Activate the LoRAs of a pass: ours around the host's own."""
        running = self._of(p)
        if not (self.installed and running.is_ours):
            self.loras = ()
            return original(p, data)
        self.unknown()  # finds the host, if it is not found yet
        prepared = self._prepare(p, data, running.options)
        if self.host is not None:
            self.host.before()
            for filename in prepared.replaced:
                self.host.forget(filename)
        result = original(p, data)
        problems = list(prepared.problems)
        if self.host is not None:
            problems += self._apply(p, prepared)
        if hasattr(p, "extra_generation_params"):
            infotext.write(p, prepared.loras, prepared.hires)
        messages.tell(p, [*problems, *prepared.remarks])
        if problems and setting(ON_INVALID) == STOP:
            messages.stop(p, problems)
        return result

    def _apply(self, p: Any, prepared: Prepared) -> list[str]:
        assert self.host is not None
        first = [at_step(lora, 1, _steps(p, prepared.hires)) for lora in prepared.loras]
        self.loras = prepared.loras
        self.in_force = [lora.denoiser_on for lora in first]
        return self.host.apply(first)

    def _prepare(self, p: Any, data: Any, options: RequestOptions) -> Prepared:
        """Read our items from the tags of `data`, and leave the host what it understands."""
        hires = data is not None and data is getattr(p, "hr_extra_network_data", None)
        remarks = unclosed(p)
        if not data:
            return Prepared((), (), hires, tuple(remarks))
        registry = getattr(self._extra_networks, "extra_network_registry", {})
        if "lyco" in data and registry.get("lyco") in (None, registry.get("lora")):
            data["lora"] = [*data.get("lora", ()), *data.pop("lyco")]
        tags = data.get("lora") or []
        if not tags:
            return Prepared((), (), hires, tuple(remarks))
        problems: list[str] = []
        presets, elements = self._presets(options, problems)
        architecture = self.host.architecture() if self.host is not None else None
        seed = int((getattr(p, "seeds", None) or [getattr(p, "seed", 0) or 0])[0])
        loras: list[ResolvedLora] = []
        kept = []
        replaced: list[str] = []
        for tag in tags:
            # A pass may be activated twice: what was taken out the first time stands beside the tag.
            items = tag.__dict__.setdefault("lbw_items", list(tag.items))
            request = _checked(parse_items(items, presets), _steps(p, hires))
            found = self._found(request, remarks)
            if found is None:
                problems.append(f"{not_found(request.name, self.lora_files())}; it is left out")
                continue
            request, filename = found
            kept.append(tag)
            if options.enabled:
                remarks += [f"LoRA {quote(request.name)}: {remark}" for remark in request.remarks]
            else:
                request = _plain(request)
            if architecture is None:
                _leave_to_host(tag, request, "")
                if not request.is_plain:
                    problems.append(self._nothing_known(request))
                continue
            resolved = resolve_request(request, architecture, presets, elements, seed)
            resolved = self._of_file(resolved, filename, replaced)
            if architecture.family.is_guess and not request.is_plain:
                remarks.append(guess_message(architecture))
            problems += [f"LoRA {quote(request.name)}: {problem}" for problem in resolved.problems]
            _leave_to_host(tag, request, resolved.encoder_digest)
            loras.append(resolved)
        data["lora"] = kept
        return Prepared(tuple(loras), tuple(problems), hires, tuple(remarks), tuple(replaced))

    def _found(self, request: LoraRequest, remarks: list[str]) -> tuple[LoraRequest, str] | None:
        """Return `request` with the name that the host has for its LoRA, and the file; None where there is none.

        A WebUI that is not known looks for its LoRAs by itself.
        """
        if self.host is None:
            return request, ""
        filename = self.host.find(request.name)
        if filename is not None:
            return request, filename
        known = self.host.lora_files()
        meant = meant_name(request.name, known)
        if meant is None:
            return None
        remarks.append(f"LoRA {quote(request.name)} is called {quote(meant)} here")
        return replace(request, name=meant, host_items=(meant, *request.host_items[1:])), known[meant]

    def _of_file(self, resolved: ResolvedLora, filename: str, replaced: list[str]) -> ResolvedLora:
        """Return `resolved` for the file as it is now; one that is another than at the last activation is told."""
        first, last = self._versions.get(filename, ("", ""))
        now = version(Path(filename))
        self._versions[filename] = first or now, now
        if last not in ("", now):
            replaced.append(filename)
        return replace(resolved, file_version="" if first in ("", now) else now)

    def _presets(self, options: RequestOptions, problems: list[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
        try:
            return merged(self.store.presets(), options.presets), {**self.store.elements(), **options.elements}
        except FileError as error:
            problems.append(str(error))
            return options.presets, options.elements

    def _nothing_known(self, request: LoraRequest) -> str:
        name = self.unknown()
        reason = f"{name} is none that is known" if name else "the blocks of the loaded model are not known"
        return f"LoRA {quote(request.name)} is applied without block weights: {reason}"

    # Sampling -------------------------------------------------------------------------------------

    def before_denoiser(self, params: Any) -> None:
        """Switch LoRAs with `start` or `stop`, just before the denoiser runs."""
        if not self.installed or self.host is None or all(lora.request.span == NO_SPAN for lora in self.loras):
            return
        step, steps = denoise_step(params)
        now = [at_step(lora, step, steps) for lora in self.loras]
        on = [lora.denoiser_on for lora in now]
        if on != self.in_force:
            self.host.switch(now)
            self.in_force = on


NO_SPAN = LoraRequest("").span


def current_task() -> object:
    """Return what the WebUI's tasks differ in: a generation that is nested in another runs in the same one."""
    state = getattr(sys.modules.get("modules.shared"), "state", None)
    return getattr(state, "time_start", None), getattr(state, "job_timestamp", None)


def unclosed(p: Any) -> list[str]:
    """Return what to tell of tags in the prompts of `p` that are not closed; the host leaves them in the text."""
    prompts = getattr(p, "prompts", None) or [getattr(p, "prompt", "")]
    found = (unclosed_tag(str(prompt)) for prompt in prompts)
    return list(dict.fromkeys(text for text in found if text))


def denoise_step(params: Any) -> tuple[int, int]:
    """Return the sampling step, from 1, that the denoiser is about to run for, and the steps of the pass.

    `denoiser.step` counts the denoiser's calls in the pass, of which second-order samplers make two a step;
    `denoiser.total_steps` is how many calls are expected.
    """
    denoiser = getattr(params, "denoiser", None)
    if denoiser is None or getattr(denoiser, "total_steps", None) is None:
        return int(params.sampling_step) + 1, max(int(params.total_sampling_steps), 1)
    steps = int(denoiser.steps or denoiser.total_steps)
    return min(int(denoiser.step) // calls_per_step(denoiser) + 1, steps), steps


def calls_per_step(denoiser: Any) -> int:
    """Return how often the sampler calls the denoiser in each step but the last."""
    return max(1, round(denoiser.total_steps / int(denoiser.steps or denoiser.total_steps)))


def _steps(p: Any, hires: bool) -> int:
    """Return how many steps the pass of `p` is asked to run."""
    return int((hires and getattr(p, "hr_second_pass_steps", 0)) or getattr(p, "steps", 0) or 1)


def _checked(request: LoraRequest, steps: int) -> LoraRequest:
    """Return `request`; where start comes after stop in a pass of `steps` steps, without both and with the error."""
    try:
        request.span.check(steps)
    except LbwError as error:
        return replace(request, span=NO_SPAN, problems=(*request.problems, error))
    return request


def _plain(request: LoraRequest) -> LoraRequest:
    """Return `request` without anything of ours: block weights are switched off."""
    return LoraRequest(request.name, request.te, request.unet, request.dyn, host_items=request.host_items)


def _leave_to_host(tag: Any, request: LoraRequest, encoder_digest: str) -> None:
    """Leave in `tag`, the host's own object, what the host understands.

    Its `items` are also what the host compares to tell whether the text conditioning may be used again: they
    differ where the text encoders' block weights do.
    """
    items = list(request.host_items)
    tag.positional = [item for place, item in enumerate(items) if place == 0 or item.count("=") != 1]
    tag.named = dict(item.split("=") for item in items[1:] if item.count("=") == 1)
    tag.items = items + ([f"text encoder {encoder_digest}"] if encoder_digest else [])


def watch(hook: Hook, script_callbacks: Any) -> None:
    """Register what the WebUI calls of `hook`."""
    script_callbacks.on_cfg_denoiser(hook.before_denoiser)
    script_callbacks.on_infotext_pasted(infotext.pasted)
