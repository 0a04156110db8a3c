"""What all doubles of the hosts have in common: tags, passes, the cached conditioning, a folder of LoRAs."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lbw.files.user_presets import PresetStore
from lbw.webui import generation
from lbw.webui.hook import Hook
from lbw.webui.options import RequestOptions

Weights = dict[str, torch.Tensor]


class Params:
    """The items of one tag. Two are equal if their items are: by this the host reuses the conditioning."""

    def __init__(self, items: list[str]) -> None:
        self.items = items
        self.positional = [item for item in items if item.count("=") != 1]
        self.named = dict(item.split("=") for item in items if item.count("=") == 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self.items == other.items

    __hash__ = None  # type: ignore[assignment]


def parse(prompt: str) -> dict[str, list[Params]]:
    """Return the tags of `prompt` by the name before their first colon."""
    found: dict[str, list[Params]] = defaultdict(list)
    for name, text in re.findall(r"<(\w+):([^>]+)>", prompt):
        found[name].append(Params(text.split(":")))
    return found


class ExtraNetworks:
    """`modules.extra_networks`: calls what is registered, and swallows exceptions."""

    def __init__(self) -> None:
        self.extra_network_registry: dict[str, Any] = {}
        self.extra_network_aliases: dict[str, Any] = {}
        self.swallowed: list[Exception] = []

    def activate(self, p: Any, data: dict[str, list[Params]]) -> None:
        tags: dict[str, list[Params]] = {name: [] for name in self.extra_network_registry}
        for name, params in data.items():
            network = self.extra_network_registry.get(name) or self.extra_network_aliases.get(name)
            if network is not None:
                tags[network.name] = tags[network.name] + params
        for name, params in tags.items():
            try:
                self.extra_network_registry[name].activate(p, params)
            except Exception as error:
                self.swallowed.append(error)


class ExtraNetworkLora:
    """The host's reading of a LoRA tag's strengths."""

    name = "lora"

    def __init__(self, networks: Any) -> None:
        self.networks = networks

    def activate(self, p: Any, tags: list[Params]) -> None:
        names, te, unet, dyn = [], [], [], []
        for tag in tags:
            values = dict(zip(("name", "te", "unet", "dyn"), tag.positional)) | tag.named
            names.append(tag.positional[0])
            te.append(float(values.get("te", 1.0)))
            unet.append(float(values.get("unet", te[-1])))
            dyn.append(int(values["dyn"]) if "dyn" in values else None)
        self.networks.load_networks(names, te, unet, dyn)


class Processing:
    """`p`: one generation, and the conditioning that is used again while its key is the same."""

    def __init__(self, world: World, steps: int = 4, seed: int = 1, hires_steps: int = 0, scripts: Any = None) -> None:
        self.world = world
        self.steps, self.hr_second_pass_steps = steps, hires_steps
        self.seed, self.seeds = seed, [seed]
        self.scripts = scripts
        self.comments: list[str] = []
        self.extra_generation_params: dict[str, str] = {}
        self.extra_network_data: Any = None
        self.hr_extra_network_data: Any = None

    def comment(self, text: str) -> None:
        self.comments.append(text)

    def run(self, work: Callable[[], Any]) -> Any:
        """Do `work` as the WebUI's `process_images`."""
        self.work = work
        return self.world.processing.process_images_inner(self)

    def setup_conds(self) -> None:
        self.world.condition(self.extra_network_data)

    def calculate_hr_conds(self) -> None:
        self.world.condition(self.hr_extra_network_data)


@dataclass
class Pass:
    """The text encoders' tensors when the text was last encoded, and the denoiser's at each of its calls."""

    text: Weights
    calls: list[Weights]

    @property
    def unet(self) -> Weights:
        return self.calls[-1]

    @property
    def weights(self) -> Weights:
        return {**self.text, **self.unet}


@dataclass
class Picture:
    """What one generation was made with."""

    p: Processing
    passes: list[Pass] = field(default_factory=list)

    @property
    def weights(self) -> Weights:
        return self.passes[0].weights


class Interrupted(Exception):  # noqa: N818 - the hosts name theirs so
    """The failures that a test triggers."""


@dataclass
class OnDisk:
    name: str
    filename: str

    def read_hash(self) -> None:
        """Do nothing: the doubles' files have no hashes."""


class Networks:
    """What every host's `networks` has: the LoRAs of a folder, by name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.available_networks: dict[str, OnDisk] = {}
        self.available_network_aliases: dict[str, OnDisk] = {}
        self.forbidden_network_aliases: dict[str, int] = {"none": 1}
        self.loaded_networks: list[Any] = []

    def list_available_networks(self) -> None:
        self.available_networks.clear()
        self.available_network_aliases.clear()
        self.update_available_networks_by_names([])

    def update_available_networks_by_names(self, names: list[str]) -> None:
        for path in sorted(self.world.folder.glob("*.safetensors")):
            if not names or path.stem in names:
                entry = OnDisk(path.stem, str(path))
                self.available_networks[path.stem] = self.available_network_aliases[path.stem] = entry

    def on_disk(self, names: list[str]) -> list[OnDisk | None]:
        if any(self.available_network_aliases.get(name) is None for name in names):
            self.list_available_networks()
        return [self.available_network_aliases.get(name) for name in names]

    def read(self, filename: str) -> Weights:
        """Read a LoRA file, and count it."""
        self.world.reads[Path(filename).stem] += 1
        return load_file(filename)


class World(ABC):
    """A running WebUI with the hook installed.

    merges, restores: what was merged and undone, by layer. attaches: what is added at each forward from then on.
    reads: what was read, by LoRA. merges_by_tensor: whether what is the same stays as it is.
    """

    title: str
    merges_by_tensor = True

    networks: Networks

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.merges: Counter[str] = Counter()
        self.restores: Counter[str] = Counter()
        self.attaches: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self.fail_after: int | None = None
        self.failure: type[BaseException] = RuntimeError
        self.restores_fail = False
        self.encodings = 0
        self._conditioned: tuple[Any, Weights] | None = None
        self.extra_networks = ExtraNetworks()
        self.processing = SimpleNamespace(process_images_inner=lambda p: p.work())
        self.opts = SimpleNamespace(lbw_on_invalid="warn", lbw_with_predecessor="this extension")
        self.model_data = SimpleNamespace(sd_model=None)
        modules = ModuleType("modules")
        modules.shared = SimpleNamespace(opts=self.opts)
        for name in [n for n in sys.modules if n.split(".")[0] in ("backend", "ldm_patched", "networks", "modules")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "modules", modules)
        monkeypatch.setitem(sys.modules, "modules.shared", modules.shared)
        monkeypatch.setitem(sys.modules, "modules.sd_models", SimpleNamespace(model_data=self.model_data))
        self.start(monkeypatch)
        monkeypatch.setitem(sys.modules, "networks", self.networks)
        lora = ExtraNetworkLora(self.networks)
        self.extra_networks.extra_network_registry["lora"] = lora
        self.extra_networks.extra_network_aliases["lyco"] = lora
        self.hook = Hook(PresetStore(folder / "presets"))
        self.hook.install(self.extra_networks, self.processing)

    @abstractmethod
    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the host's modules in place, and load checkpoint 0."""

    @abstractmethod
    def change_checkpoint(self, seed: int) -> None:
        """Load another checkpoint."""

    @abstractmethod
    def encode(self) -> None:
        """Run the text encoders, which brings their weights up to date."""

    @abstractmethod
    def denoise(self) -> None:
        """Run the denoiser once."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return copies of all weights in use."""

    def begin_pass(self) -> None:
        """Do what the host does between activation and conditioning."""
        return

    def begin_sampling(self) -> None:
        """Do what the host does before the first call of the denoiser."""
        return

    def add(self, name: str, tensors: Weights) -> str:
        """Write a LoRA file; return its name."""
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, self.folder / f"{name}.safetensors")
        return name

    def merging(self, tensor: str) -> None:
        """Count that a layer is merged; fail if it is time to."""
        self.merges[_layer(tensor)] += 1
        self._perhaps_fail()

    def attaching(self, tensor: str) -> None:
        """Count that patches are to be added to a layer at each forward; fail if it is time to."""
        self.attaches[_layer(tensor)] += 1
        self._perhaps_fail()

    def _perhaps_fail(self) -> None:
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                self.fail_after = None
                raise self.failure("the host failed while merging")

    def restoring(self, tensor: str) -> None:
        """Count that a layer is restored; fail if it is time to, and restoring may fail."""
        self.restores[_layer(tensor)] += 1
        if self.restores_fail:
            self._perhaps_fail()

    def condition(self, data: Any) -> None:
        """Encode the text, unless it was encoded with LoRAs of the same items."""
        if self._conditioned is not None and self._conditioned[0] == data:
            return
        self.encodings += 1
        self.encode()
        text = {name: weight for name, weight in self.weights().items() if name.startswith(("transformer", "model."))}
        self._conditioned = data, text

    def activate(self, p: Processing, data: Any) -> None:
        """Let the WebUI activate the LoRAs of `data`: this is what the hook wraps."""
        self.extra_networks.activate(p, data)
        self.begin_pass()

    def sample(self, steps: int, order: int = 1, stop_after: int | None = None, p: Processing | None = None) -> Pass:
        """Return what a pass of `steps` steps is made with. order: calls of the denoiser for all steps but the last."""
        denoiser = SimpleNamespace(p=p, step=0, steps=steps, total_steps=steps * order)
        calls = []
        self.begin_sampling()
        for _ in range(steps * order - (order - 1)):
            if stop_after is not None and denoiser.step >= stop_after:
                raise Interrupted
            self.hook.before_denoiser(SimpleNamespace(denoiser=denoiser))
            self.denoise()
            calls.append({n: w for n, w in self.weights().items() if not n.startswith(("transformer", "model."))})
            denoiser.step += 1
        assert self._conditioned is not None
        return Pass(self._conditioned[1], calls)

    def paint(
        self,
        *prompts: str,
        options: RequestOptions | None = None,
        hires: str | None = None,
        order: int = 1,
        sampled: int | None = None,
        stop_after: int | None = None,
        **fields: Any,
    ) -> Picture:
        """Make a picture for each of `prompts`, as batches of one generation; `sampled` steps where they are fewer."""
        p = Processing(self, **fields)
        picture = Picture(p)

        def work() -> None:
            self.call_script(p, options or RequestOptions())
            for prompt in prompts:
                p.extra_network_data = parse(prompt)
                self.activate(p, p.extra_network_data)
                p.setup_conds()
                picture.passes.append(self.sample(sampled or p.steps, order, stop_after, p))
                if hires is not None:
                    p.hr_extra_network_data = parse(hires)
                    self.extra_networks.activate(p, p.hr_extra_network_data)
                    p.calculate_hr_conds()  # with what the activation left: these hosts begin the pass only now
                    self.begin_pass()
                    picture.passes.append(self.sample(p.hr_second_pass_steps or p.steps, order, p=p))

        p.run(work)
        return picture

    def call_script(self, p: Processing, options: RequestOptions) -> None:
        """Call the script's `process` with arguments that say `options`."""
        generation.of(p).arguments = options

    def touched_by(self, *prompts: str, **fields: Any) -> set[str]:
        """Return the layers that are touched while `prompts` are painted."""
        for counter in (self.merges, self.restores, self.attaches, self.reads):
            counter.clear()
        self.paint(*prompts, **fields)
        return set(self.merges) | set(self.restores) | set(self.attaches)


def _layer(tensor: str) -> str:
    return tensor.removeprefix("diffusion_model.").removesuffix(".weight").removesuffix(".bias")
