"""The hook on the WebUI's LoRA loading.

The WebUI calls `modules.extra_networks.activate` for every batch, for the hires pass, and for every nested
generation. Around that call, our items of the tags are read and removed, the host loads the LoRAs with the rest, and
the host's adapter applies the multipliers. During sampling, LoRAs with `start` or `stop` are switched on and off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lbw import hosts
from lbw.core.errors import HostError
from lbw.core.family import Architecture
from lbw.core.plan import ResolvedLora, at_step
from lbw.core.steps import Span
from lbw.core.texts import t
from lbw.files.user_presets import PresetStore
from lbw.hosts import unknown
from lbw.hosts.base import Host
from lbw.hosts.patch import Patch

from . import generation, infotext, messages
from .denoiser import denoise_step, steps_of
from .generation import Generation
from .options import ON_INVALID, STOP, setting
from .tags import Asked, FileVersions, Pass, lora_tags, read_tags, unclosed


class Hook:
    """What is installed in the WebUI, and what the WebUI has loaded; the state of a generation is in `Generation`."""

    def __init__(self, store: PresetStore) -> None:
        self.store = store
        self.host: Host | None = None
        self._extra_networks: Any = None
        self._patches: list[Patch] = []
        self._versions = FileVersions()
        self._applied: Generation | None = None  # the one whose LoRAs the host has applied

    # Installing -----------------------------------------------------------------------------------

    def install(self, extra_networks: Any, processing: Any) -> None:
        """Wrap the host's functions; a hook left by an earlier load is removed.

        extra_networks, processing: the host's modules.
        """
        self._extra_networks = extra_networks
        self._patches = [Patch(extra_networks, "activate", self.activate, give_way=self.uninstall)]
        if hasattr(processing, "process_images_inner"):
            self._patches.append(Patch(processing, "process_images_inner", self.run, give_way=self.uninstall))

    def uninstall(self) -> None:
        """Remove the hook and restore the host."""
        for patch in self._patches:
            patch.remove()
        if self.host is not None:
            self.host.close()
            self.host = None

    # One generation -------------------------------------------------------------------------------

    def run(self, process_images: Callable[..., Any], p: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a generation; a surrounding one finds everything unchanged afterwards."""
        with generation.running(p) as own:
            try:
                return process_images(p, *args, **kwargs)
            finally:
                infotext.give_back(own)

    def activate(self, original: Callable[..., Any], p: Any, data: Any) -> Any:
        """Activate the LoRAs of a pass, around the host's own activation."""
        own = generation.of(p)
        self._applied = None
        if not own.is_in_charge:
            return original(p, data)
        self.unknown()  # detects the host, if it is not detected yet
        hires = data is not None and data is getattr(p, "hr_extra_network_data", None)
        steps = steps_of(p, hires)
        asked = self._read(p, data, Pass(steps, _first_seed(p), own.options))
        if self.host is not None:
            self.host.before()
            for filename in asked.replaced:
                self.host.forget(filename)
        result = original(p, data)
        problems = [*asked.problems, *self._apply(own, asked.loras, steps)]
        infotext.write(own, hires)
        messages.tell(p, [*problems, *unclosed(p), *asked.remarks])
        if problems and setting(ON_INVALID) == STOP:
            messages.stop(p, problems)
        return result

    def _read(self, p: Any, data: Any, given: Pass) -> Asked:
        tags = lora_tags(data, getattr(self._extra_networks, "extra_network_registry", {}))
        asked = read_tags(tags, given, self.host, self.store, self._versions)
        if tags:
            data["lora"] = asked.kept
        return asked

    def _apply(self, own: Generation, loras: list[ResolvedLora], steps: int) -> list[str]:
        """Let the host apply `loras` for the first step; return messages."""
        own.loras = tuple(loras)
        if self.host is None:
            return []
        first = [at_step(lora, 1, steps) for lora in loras]
        own.in_force = [lora.denoiser_on for lora in first]
        self._applied = own
        return self.host.apply(first)

    def before_denoiser(self, params: Any) -> None:
        """Switch LoRAs with `start` or `stop`, just before the denoiser runs."""
        own = self._applied
        if self.host is None or own is None or all(lora.request.span == Span() for lora in own.loras):
            return
        if generation.own(getattr(getattr(params, "denoiser", None), "p", None)) not in (None, own):
            return  # the host has applied the LoRAs of another generation than the one that is sampling
        step, steps = denoise_step(params)
        now = [at_step(lora, step, steps) for lora in own.loras]
        on = [lora.denoiser_on for lora in now]
        if on != own.in_force:
            self.host.switch(now)
            own.in_force = on

    # What the WebUI has ---------------------------------------------------------------------------

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""
        return self.lora_files().get(name) if self.unknown() else self._host().find(name)

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs that the WebUI has, by name."""
        return unknown.lora_files() if self.unknown() else self._host().lora_files()

    def unknown(self) -> str:
        """Return the name and the version of the WebUI if it is unknown; otherwise empty."""
        if self.host is None:
            self.host = hosts.detect()
        return "" if self.host is not None else unknown.webui_name()

    def architecture(self) -> Architecture:
        """Return the architecture of the selected model, loading it if necessary.

        Raises:
            HostError: this WebUI, or the blocks of its model, are unknown.
        """
        host = self._host()
        host.load()
        architecture = host.architecture()
        if architecture is None:
            raise HostError(t("the blocks of the loaded model are unknown"))
        return architecture

    def loaded(self) -> Architecture | None:
        """Return the architecture of the loaded model; None if none is loaded or it is unknown. Never loads a model."""
        try:
            return self._host().architecture()
        except HostError:
            return None

    def _host(self) -> Host:
        if name := self.unknown():
            raise HostError(t("{webui} is not a known WebUI", webui=name))
        assert self.host is not None
        return self.host


def _first_seed(p: Any) -> int:
    """Return the seed of the first picture of the batch."""
    return int((getattr(p, "seeds", None) or [getattr(p, "seed", 0) or 0])[0])


def watch(hook: Hook, script_callbacks: Any) -> None:
    """Register the callbacks of `hook`."""
    script_callbacks.on_cfg_denoiser(hook.before_denoiser)
    script_callbacks.on_infotext_pasted(infotext.pasted)
