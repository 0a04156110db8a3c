"""A double of AUTOMATIC1111: weights are merged layer by layer, at a layer's next forward."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from .doubles_mathematics import difference, split
from .doubles_model import copies, denoiser, encoder
from .doubles_webui import Networks, OnDisk, Weights, World

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "out_proj")


class NetworkModule:
    """One layer of a LoRA."""

    def __init__(self, network: Any, key: str, layer: nn.Module, parameters: Weights) -> None:
        self.network, self.sd_key, self.sd_module, self.parameters = network, key, layer, parameters

    def multiplier(self) -> float:
        return self.network.te_multiplier if "transformer" in self.sd_key[:20] else self.network.unet_multiplier

    def calc_updown(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        parameters = self.parameters
        rank = self.network.dyn_dim
        if rank is not None and "lora_up.weight" in parameters:
            up, down = parameters["lora_up.weight"][:, :rank], parameters["lora_down.weight"][:rank]
            scale = float(parameters["alpha"]) / parameters["lora_down.weight"].shape[0]
            parameters = {"lora_up.weight": up * scale, "lora_down.weight": down}
        delta, bias = difference(parameters, weight)
        return delta * self.multiplier(), None if bias is None else bias * self.multiplier()


class Network:
    """One LoRA in memory."""

    def __init__(self, name: str, network_on_disk: OnDisk) -> None:
        self.name, self.network_on_disk = name, network_on_disk
        self.te_multiplier, self.unet_multiplier, self.dyn_dim = 1.0, 1.0, None
        self.modules: dict[str, NetworkModule] = {}
        self.bundle_embeddings: dict[str, Any] = {}
        self.mtime = Path(network_on_disk.filename).stat().st_mtime
        self.mentioned_name: str | None = None


class A1111Networks(Networks):
    """`networks` of `extensions-builtin/Lora`."""

    def __init__(self, world: A1111World) -> None:
        super().__init__(world)
        self.networks_in_memory: dict[str, Network] = {}
        self.memory_limit = 4
        self.functional = False

    def assign_network_names_to_compvis_modules(self, model: Any) -> None:
        model.network_layer_mapping = {}
        for part in (model.cond_stage_model, model.model):
            for path, layer in part.named_modules():
                layer.network_layer_name = path.replace(".", "_")
                model.network_layer_mapping[layer.network_layer_name] = layer

    def load_network(self, name: str, on_disk: OnDisk) -> Network:
        network = Network(name, on_disk)
        layers = self.world.model_data.sd_model.network_layer_mapping
        for file_key, parameters in split(self.read(on_disk.filename)).items():
            key = file_key.replace("lora_unet_", "diffusion_model_").replace("lora_te_", "transformer_")
            if key not in layers:
                key = key.replace("transformer_text_model_encoder_layers", "model_transformer_resblocks")
                key = key.replace("self_attn", "attn")
            whole = next((key.removesuffix(f"_{p}") for p in PROJECTIONS if key.endswith(p)), key)
            layer = layers.get(key, layers.get(whole))
            if layer is not None:
                network.modules[key] = NetworkModule(network, key, layer, parameters)
        return network

    def load_networks(self, names: list[str], te: list[float], unet: list[float], dyn: list[int | None]) -> None:
        loaded = {network.name: network for network in self.loaded_networks}
        self.loaded_networks.clear()
        for name, on_disk, *strengths in zip(names, self.on_disk(names), te, unet, dyn):
            network = loaded.get(name) or self.networks_in_memory.get(name)
            if on_disk is None:
                continue
            if network is None or Path(on_disk.filename).stat().st_mtime > network.mtime:
                network = self.networks_in_memory[name] = self.load_network(name, on_disk)
            network.mentioned_name = name
            network.te_multiplier, network.unet_multiplier, network.dyn_dim = strengths
            self.loaded_networks.append(network)
        while len(self.networks_in_memory) > self.memory_limit:
            self.networks_in_memory.pop(next(iter(self.networks_in_memory)))

    def network_apply_weights(self, layer: nn.Module) -> None:
        """Merge what is loaded into `layer`, unless it is merged already."""
        wanted = tuple((n.name, n.te_multiplier, n.unet_multiplier, n.dyn_dim) for n in self.loaded_networks)
        current = getattr(layer, "network_current_names", ())
        backup = getattr(layer, "network_weights_backup", None)
        if backup is None and wanted != ():
            assert current == (), "merged, and nothing to restore it from"
            layer.network_weights_backup = {n: w.clone() for n, w in layer.named_parameters()}
        if current == wanted:
            return
        self.world.restoring(self.world.paths[layer.network_layer_name])
        for name, weight in (getattr(layer, "network_weights_backup", None) or {}).items():
            layer.get_parameter(name).copy_(weight)
        for network in self.loaded_networks:
            try:
                self._merge(network, layer)
            except RuntimeError:
                continue
        layer.network_current_names = wanted

    def _merge(self, network: Network, layer: nn.Module) -> None:
        name = layer.network_layer_name
        module = network.modules.get(name)
        if module is not None:
            self.world.merging(self.world.paths[name])
            delta, bias = module.calc_updown(layer.weight)
            layer.weight += delta
            if bias is not None:
                layer.bias += bias
            return
        parts = [network.modules.get(f"{name}_{projection}") for projection in PROJECTIONS]
        if isinstance(layer, nn.MultiheadAttention) and all(parts):
            self.world.merging(self.world.paths[name])
            rows = layer.in_proj_weight.chunk(3, 0)
            deltas = [part.calc_updown(row)[0] for part, row in zip(parts, rows)]
            layer.in_proj_weight += torch.vstack(deltas)
            layer.out_proj.weight += parts[3].calc_updown(layer.out_proj.weight)[0]

    def network_forward(self, layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        """Return the output of `layer`, with the LoRAs in the weights or, if `functional`, beside them."""
        if not self.functional:
            self.network_apply_weights(layer)
            return nn.functional.linear(x, layer.weight, layer.bias)
        for name, weight in (getattr(layer, "network_weights_backup", None) or {}).items():
            layer.get_parameter(name).copy_(weight)
        layer.network_current_names, layer.network_weights_backup = (), None
        y = nn.functional.linear(x, layer.weight, layer.bias)
        for network in self.loaded_networks:
            module = network.modules.get(layer.network_layer_name)
            if module is not None:
                y = y + nn.functional.linear(x, module.calc_updown(layer.weight)[0])
        return y


class A1111World(World):
    """A running AUTOMATIC1111."""

    title = "AUTOMATIC1111"
    networks: A1111Networks
    fused = False

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.networks = A1111Networks(self)
        self.load(0)

    def load(self, seed: int) -> None:
        model = SimpleModel()
        model.model, model.cond_stage_model = denoiser(seed), encoder(seed, self.fused)
        self.networks.assign_network_names_to_compvis_modules(model)
        self.paths = {n: p for part in model.parts for n, p in ((p.replace(".", "_"), p) for p, _ in _layers(part))}
        self.model_data.sd_model = model

    def change_checkpoint(self, seed: int) -> None:
        """Load other weights into the same layers, as the host does for a checkpoint of the same shape."""
        new = (encoder(seed, self.fused), denoiser(seed))
        for old, other in zip(self.model_data.sd_model.parts, new):
            for layer in old.modules():
                layer.network_current_names, layer.network_weights_backup = (), None
            old.load_state_dict(other.state_dict())
        self._conditioned = None

    def encode(self) -> None:
        self._forward(self.model_data.sd_model.cond_stage_model)

    def denoise(self) -> None:
        self._forward(self.model_data.sd_model.model)

    def _forward(self, part: nn.Module) -> None:
        for _, layer in _layers(part):
            self.networks.network_apply_weights(layer)

    def weights(self) -> Weights:
        return copies(*self.model_data.sd_model.parts)


class SimpleModel(SimpleNamespace):
    """`sd_model`: what the host keeps of a checkpoint."""

    __hash__ = object.__hash__

    @property
    def parts(self) -> tuple[nn.Module, nn.Module]:
        return self.cond_stage_model, self.model


def _layers(part: nn.Module) -> list[tuple[str, nn.Module]]:
    kinds = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.MultiheadAttention)
    layers = [(path, layer) for path, layer in part.named_modules() if isinstance(layer, kinds)]
    return [(path, layer) for path, layer in layers if not path.endswith(".out_proj")]
