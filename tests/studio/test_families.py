"""The standalone host on a tiny pipeline of every family that the pinned diffusers has one for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from safetensors.torch import save_file  # noqa: E402

from lbw.analysis.request import PictureRequest  # noqa: E402
from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import parse_tag  # noqa: E402
from lbw.hosts.pipelines import denoisers, pipeline_weights, text_encoders  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost  # noqa: E402
from lbw.studio.renderer import PictureRenderer  # noqa: E402

from . import tiny  # noqa: E402


@dataclass(frozen=True)
class Case:
    """What is known of a tiny pipeline, from the converters of diffusers and the trainers.

    block: of its main stack. path: a pattern that the names of that block's layers begin with. original: modules of
    the original checkpoint, and the pipeline's layers that have their rows, in order. prefix: how a trainer writes
    them. converts: whether diffusers loads them; of some families, only where they are of the published model's size.
    tells: a module by which a file of one block is told from another family's, which for other sizes says nothing.
    """

    block: str
    path: str
    original: dict[str, tuple[str, ...]]
    prefix: str = "lora_unet_"
    converts: bool = True
    tells: str = ""

    @property
    def flat(self) -> bool:
        return self.prefix.endswith("_")


def qkv(block: str, names: str = "to_q to_k to_v") -> tuple[str, ...]:
    return tuple(f"{block}.{name}" for name in names.split())


_DOUBLE, _SINGLE = "transformer_blocks.0.attn", "single_transformer_blocks.1"
_FLUX = {
    "double_blocks.0.img_attn.qkv": qkv(_DOUBLE),
    "double_blocks.0.txt_attn.qkv": qkv(_DOUBLE, "add_q_proj add_k_proj add_v_proj"),
    "double_blocks.0.img_attn.proj": (f"{_DOUBLE}.to_out.0",),
    "double_blocks.1.txt_mlp.2": ("transformer_blocks.1.ff_context.net.2",),
    "single_blocks.1.linear1": (*qkv(f"{_SINGLE}.attn"), f"{_SINGLE}.proj_mlp"),
    "single_blocks.1.linear2": (f"{_SINGLE}.proj_out",),
}
CASES = {
    "sd1": Case(
        "IN04", "down_blocks.1.(?:attentions|resnets).0.",
        {"down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k",)},
    ),
    "flux": Case("S01", "single_transformer_blocks.1.", _FLUX, converts=False),
    "chroma": Case("S01", "single_transformer_blocks.1.", _FLUX, converts=False),
    "flux2_klein": Case(
        "D00", "transformer_blocks.0.",
        {name: layers for name, layers in _FLUX.items() if name.startswith("double_blocks.0")} | {
            "double_blocks.0.img_mlp.0": ("transformer_blocks.0.ff.linear_in",),
            "single_blocks.1.linear1": (f"{_SINGLE}.attn.to_qkv_mlp_proj",),
            "double_stream_modulation_img.lin": ("double_stream_modulation_img.linear",)},
        "diffusion_model.",
    ),
    "lumina2": Case(
        "B01", "layers.1.",
        {"layers.1.attention.qkv": qkv("layers.1.attn"),
         "context_refiner.0.attention.out": ("context_refiner.0.attn.to_out.0",),
         "layers.0.feed_forward.w2": ("layers.0.feed_forward.linear_2",)},
        "diffusion_model.", converts=False,
    ),
    "z_image": Case(
        "B01", "layers.1.",
        {"layers.1.attention.qkv": qkv("layers.1.attention"),
         "noise_refiner.1.attention.out": ("noise_refiner.1.attention.to_out.0",),
         "layers.0.adaLN_modulation.0": ("layers.0.adaLN_modulation.0",)},
        "diffusion_model.", converts=False,
    ),
    "wan": Case(
        "B01", "blocks.1.",
        {"blocks.1.self_attn.q": ("blocks.1.attn1.to_q",), "blocks.0.cross_attn.o": ("blocks.0.attn2.to_out.0",),
         "blocks.1.ffn.0": ("blocks.1.ffn.net.0.proj",)},
        "diffusion_model.",
    ),
    "qwen_image": Case(
        "B00", "transformer_blocks.0.",
        {f"transformer_blocks.0.{name}": (f"transformer_blocks.0.{name}",)
         for name in ("attn.to_q", "attn.add_k_proj", "img_mlp.net.0.proj", "txt_mod.1")},
    ),
    "krea2": Case(
        "B01", "transformer_blocks.1.",
        {"blocks.1.attn.wk": ("transformer_blocks.1.attn.to_k",),
         "blocks.0.attn.gate": ("transformer_blocks.0.attn.to_gate",),
         "blocks.1.mlp.up": ("transformer_blocks.1.ff.up",),
         "txtfusion.refiner_blocks.0.attn.wo": ("text_fusion.refiner_blocks.0.attn.to_out.0",)},
        "diffusion_model.",
    ),
    "sd3": Case(
        "J00", "transformer_blocks.0.",
        {"joint_blocks.0.x_block.attn.qkv": qkv("transformer_blocks.0.attn"),
         "joint_blocks.0.context_block.attn.qkv": qkv("transformer_blocks.0.attn", "add_q_proj add_k_proj add_v_proj"),
         "joint_blocks.0.x_block.attn2.qkv": qkv("transformer_blocks.0.attn2"),
         "joint_blocks.1.x_block.mlp.fc1": ("transformer_blocks.1.ff.net.0.proj",)},
        converts=False,
    ),
    "hidream": Case(
        "S01", "single_stream_blocks.1.",
        {"double_stream_blocks.0.block.attn1.to_q_t": ("double_stream_blocks.0.block.attn1.to_q_t",),
         "single_stream_blocks.1.block.ff_i.experts.2.w1": ("single_stream_blocks.1.block.ff_i.experts.2.w1",)},
        "diffusion_model.",
    ),
    "hunyuan_image": Case(
        "S01", "single_transformer_blocks.1.",
        {name.replace("_attn.", "_attn_").replace("mlp.2", "mlp.fc2"): layers for name, layers in _FLUX.items()},
        converts=False,
        tells="time_guidance_embed.timestep_embedder.linear_1",
    ),
    "anima": Case(
        "B01", "transformer_blocks.1.",
        {"blocks.1.self_attn.q_proj": ("transformer_blocks.1.attn1.to_q",),
         "blocks.0.cross_attn.output_proj": ("transformer_blocks.0.attn2.to_out.0",),
         "blocks.1.mlp.layer1": ("transformer_blocks.1.ff.net.0.proj",),
         "blocks.1.adaln_modulation_mlp.2": ("transformer_blocks.1.norm3.linear_2",)},
        "diffusion_model.",
    ),
}  # fmt: skip


class World:
    """A tiny pipeline with its host, and LoRAs for it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.case, self.folder = CASES[name], folder
        self.pipeline = tiny.built(getattr(tiny, name))
        self.host = StandaloneHost(self.pipeline, Library(folder))
        self.maker = PictureRenderer(self.host, {}, {})
        self.component, self.denoiser = next(iter(denoisers(self.pipeline).items()))
        self.base = self.weights()
        generator = torch.Generator().manual_seed(1)
        self.noise = lambda *shape: torch.randn(shape, generator=generator) * 0.5
        plain: dict[str, Any] = {}
        for path, module in self.denoiser.named_modules():
            if isinstance(module, torch.nn.Linear):
                plain |= self.peft(f"{self.component}.{path}", *module.weight.shape)
        self.plain = self.save("plain", plain)
        encoders: dict[str, Any] = {}
        for component, encoder in text_encoders(self.pipeline).items():
            for path, module in encoder.named_modules():
                if isinstance(module, torch.nn.Linear) and path.endswith(("q_proj", "SelfAttention.q")):
                    encoders |= self.peft(f"{component}.{path}", *module.weight.shape)
        self.encoders = self.save("encoders", encoders | plain)

    def peft(self, name: str, rows: int, columns: int) -> dict[str, Any]:
        return {f"{name}.lora_A.weight": self.noise(2, columns), f"{name}.lora_B.weight": self.noise(rows, 2)}

    def save(self, name: str, tensors: dict[str, Any]) -> dict[str, Any]:
        save_file(tensors, self.folder / f"{name}.safetensors")
        return tensors

    def of_block(self) -> dict[str, Any]:
        """Return the tensors of the plain LoRA that are of the case's block."""
        pattern = re.compile(rf"{self.component}\.{self.case.path}")
        found = {name: tensor for name, tensor in self.plain.items() if pattern.match(name)}
        if self.case.tells:
            columns = self.denoiser.get_submodule(self.case.tells).weight.shape
            found |= {
                name: 0 * tensor for name, tensor in self.peft(f"transformer.{self.case.tells}", *columns).items()
            }
        return found

    def weights(self) -> dict[str, Any]:
        return {f"{c}/{n}": getattr(m, a).detach().clone() for c, n, m, a in pipeline_weights(self.pipeline)}

    def apply(self, *tags: str) -> list[str]:
        return self.host.apply([resolve_request(parse_tag(t, {}), self.host.architecture, {}, {}) for t in tags])

    def changed(self) -> dict[str, Any]:
        """Return the differences to the base of all weights that differ from it, by component and name."""
        return {n: w - self.base[n] for n, w in self.weights().items() if not torch.equal(w, self.base[n])}

    def denoisers_change(self) -> dict[str, Any]:
        """Return the differences of the main denoiser's weights, by their paths in it."""
        begins = f"{self.component}/transformer."
        return {n.removeprefix(begins): d for n, d in self.changed().items() if n.startswith(begins)}

    def picture(self, tags: str = "", steps: int = 1) -> Any:
        asked = PictureRequest(f"a red circle {tags}", seed=1, steps=steps, width=32, height=32, cfg_scale=3.0)
        return np.asarray(self.maker.render(asked).image)

    def products(self) -> dict[str, Any]:
        """Return up times down of every module of the plain LoRA, by its path in the denoiser."""
        downs = {name: tensor for name, tensor in self.plain.items() if name.endswith(".lora_A.weight")}
        return {
            name.removeprefix(f"{self.component}.").removesuffix(".lora_A.weight"): self.plain[name.replace("_A", "_B")]
            @ tensor
            for name, tensor in downs.items()
        }

    def theirs(self, file: Path) -> dict[str, Any]:
        """Return what diffusers would add to the denoiser's weights for `file`, by their paths."""
        self.pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
        try:
            return {
                path: module.get_delta_weight(module.active_adapters[0])
                for path, module in self.denoiser.named_modules()
                if hasattr(module, "get_delta_weight")
            }
        finally:
            self.pipeline.unload_lora_weights()


@pytest.fixture(scope="module", params=list(CASES))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(autouse=True)
def base_again(world: World) -> Iterator[None]:
    """After each test, the weights are what they were, bit for bit."""
    yield
    world.host.restore()
    assert not world.changed()


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, change in ours.items():
        torch.testing.assert_close(change, theirs[name], atol=1e-5, rtol=1e-4)


def test_ones_are_the_plain_tag_and_what_the_pipeline_itself_would_load(world: World) -> None:
    assert world.apply("<lora:plain:1:lbw=1>") == []
    ones = world.weights()
    ours = world.denoisers_change()
    world.apply("<lora:plain:1>")
    assert all(torch.equal(ones[name], weight) for name, weight in world.weights().items())
    world.host.restore()
    if hasattr(world.pipeline, "load_lora_weights"):
        assert_same(ours, world.theirs(world.folder / "plain.safetensors"))
    else:
        assert_same(ours, world.products())


def test_zeros_are_the_picture_without_the_lora(world: World) -> None:
    without = world.picture()
    assert not np.array_equal(world.picture("<lora:encoders:1>"), without)
    assert np.array_equal(world.picture("<lora:encoders:1:lbw=0>"), without)
    assert not world.changed()


def test_one_block_alone_changes_its_layers_as_a_file_with_nothing_else_does(world: World) -> None:
    world.apply(f"<lora:encoders:1:lbw=0,{world.case.block}=1>")
    ours = world.changed()
    assert ours
    assert [name for name in ours if not re.search(r"/transformer\." + world.case.path, name)] == []
    world.save("alone", world.of_block())
    world.apply("<lora:alone:1>")
    assert_same(ours, world.changed())


def test_a_text_encoders_layers_get_up_times_down_of_their_own(world: World) -> None:
    world.apply("<lora:encoders:0.5:0>")
    found = {name.split("/", 1)[1]: change for name, change in world.changed().items()}
    wanted = {
        name.removesuffix(".lora_A.weight"): 0.5 * world.encoders[name.replace("lora_A", "lora_B")] @ tensor
        for name, tensor in world.encoders.items()
        if name.endswith("lora_A.weight") and name not in world.plain
    }
    assert_same(found, wanted)


def test_the_originals_modules_reach_the_layers_that_have_their_rows(world: World) -> None:
    tensors: dict[str, Any] = {}
    wanted: dict[str, Any] = {}
    down, up = ("lora_down", "lora_up") if world.case.flat else ("lora_A", "lora_B")
    for name, layers in world.case.original.items():
        weights = [world.denoiser.get_submodule(layer).weight for layer in layers]
        columns = weights[0].shape[1]
        factors = world.noise(sum(weight.shape[0] for weight in weights), 2), world.noise(2, columns)
        key = world.case.prefix + (name.replace(".", "_") if world.case.flat else name)
        tensors |= {f"{key}.{up}.weight": factors[0], f"{key}.{down}.weight": factors[1]}
        if world.case.flat:
            tensors[f"{key}.alpha"] = torch.tensor(1.0)
        change = factors[0] @ factors[1] * (0.5 if world.case.flat else 1)
        for layer, part in zip(layers, change.split([weight.shape[0] for weight in weights])):
            wanted[layer] = part
    world.save("original", tensors)
    assert world.apply("<lora:original:1>") == []
    ours = world.denoisers_change()
    assert_same(ours, wanted)
    if world.case.converts:
        world.host.restore()
        assert_same(ours, world.theirs(world.folder / "original.safetensors"))


def test_start_and_stop_are_counted_in_sampling_steps(world: World) -> None:
    without, whole = world.picture(steps=2), world.picture("<lora:plain:1>", steps=2)
    assert np.array_equal(world.picture("<lora:plain:1:stop=1>", steps=2), without)
    late = world.picture("<lora:plain:1:start=2>", steps=2)
    assert not np.array_equal(late, without)
    assert not np.array_equal(late, whole)
    assert np.array_equal(world.picture(steps=2), without)


def test_an_analysis_finds_which_blocks_change_the_picture(world: World, tmp_path: Path) -> None:
    from lbw.analysis.cells import AUTO, choose
    from lbw.analysis.effective_blocks import Settings
    from lbw.analysis.noise_scan import noise_scan
    from lbw.studio.noise import NoiseProbe

    world.save("found", world.of_block())
    asked = PictureRequest("a red circle <lora:found:1:lbw=XYZ>", seed=1, steps=2, width=32, height=32, cfg_scale=3.0)
    tensors = world.host.tensors("found")
    assert world.case.block in tensors
    settings = Settings(tuple(choose(AUTO, world.host.architecture, tensors)), (1,))
    probe = NoiseProbe(world.maker, asked, (0.0, 0.6))
    (found,) = [c for c in noise_scan(settings, world.host.architecture, tensors, probe) if c.mean]
    assert found.choice.blocks == (world.case.block,)
