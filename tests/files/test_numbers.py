"""Every kind of LoRA against the libraries that make it: what their own layers apply, from their own files.

A file is written as the library writes it, read as the program reads any, and merged at four strengths. The weight
that the library applies is read from its layer's answers to unit inputs. The run prints a table of the worst errors,
relative to the size of the change, and of where the libraries differ from what is done here, with the reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")
pytest.importorskip("peft")

import torch

from lbw.files.delta import delta
from lbw.files.lora import open_lora

from .libraries import LAYERS, PLAIN, Case, Weights, make
from .numbers_table import Table

STRENGTHS = (1.0, 0.5, -1.0, 2.0)
DTYPES = {
    "fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16,
    "fp8 e4m3": torch.float8_e4m3fn, "fp8 e5m2": torch.float8_e5m2,
}  # fmt: skip
LINEAR, CORE = ("linear", "linear, square"), ("conv 3×3",)

LYCORIS = [
    Case("LyCORIS", "lora", "alpha"),
    Case("LyCORIS", "lora", "without alpha", alpha=None),
    Case("LyCORIS", "lora", "rsLoRA", options={"rs_lora": True}),
    Case("LyCORIS", "lora", "with core", CORE, {"use_tucker": True}),
    Case("LyCORIS", "lora", "with core, without alpha", CORE, {"use_tucker": True}, alpha=None),
    Case("LyCORIS", "loha", "alpha"),
    Case("LyCORIS", "loha", "without alpha", alpha=None),
    Case("LyCORIS", "loha", "with core", CORE, {"use_tucker": True}),
    Case("LyCORIS", "lokr", "alpha", options={"factor": 4, "lora_dim": 1}),
    Case("LyCORIS", "lokr", "without alpha", options={"factor": 4, "lora_dim": 1}, alpha=None),
    Case("LyCORIS", "lokr", "both factored", options={"factor": 4, "lora_dim": 1, "decompose_both": True}),
    Case("LyCORIS", "lokr", "both whole", options={"factor": 4, "full_matrix": True}),
    Case("LyCORIS", "lokr", "with core", CORE, {"factor": 2, "lora_dim": 2, "use_tucker": True}),
    Case("LyCORIS", "lokr", "both factored, with core", CORE,
         {"factor": 4, "lora_dim": 1, "use_tucker": True, "decompose_both": True}),
    Case("LyCORIS", "dora", "of outputs", options={"weight_decompose": True, "wd_on_out": True}),
    Case("LyCORIS", "dora", "of inputs", options={"weight_decompose": True, "wd_on_out": False}),
    Case("LyCORIS", "doha", "of outputs", options={"weight_decompose": True, "wd_on_out": True}),
    Case("LyCORIS", "doha", "of inputs", options={"weight_decompose": True, "wd_on_out": False}),
    Case("LyCORIS", "dokr", "of outputs", options={"weight_decompose": True, "factor": 4, "lora_dim": 1}),
    Case("LyCORIS", "dokr", "of inputs",
         options={"weight_decompose": True, "wd_on_out": False, "factor": 4, "lora_dim": 1}),
    Case("LyCORIS", "full", ""),
    Case("LyCORIS", "norm", "", ("norm",)),
    Case("LyCORIS", "oft", ""),
    Case("LyCORIS", "oft", "constrained", options={"constraint": 1 / 64}),
    Case("LyCORIS", "oft", "rescaled", options={"rescaled": True}),
    Case("LyCORIS", "boft", ""),
    Case("LyCORIS", "boft", "constrained, rescaled", options={"constraint": 1 / 64, "rescaled": True}),
    Case("LyCORIS", "glora", "alpha"),
    Case("LyCORIS", "glora", "without alpha", alpha=None),
    Case("LyCORIS", "ia3", "of outputs"),
    Case("LyCORIS", "ia3", "of inputs", options={"train_on_input": True}),
]  # fmt: skip
PEFT = [
    Case("PEFT", "lora", "alpha is r", options={"r": 4, "lora_alpha": 4}),
    Case("PEFT", "lora", "alpha not r", options={"r": 4, "lora_alpha": 16}),
    Case("PEFT", "lora", "rsLoRA", options={"r": 4, "lora_alpha": 6, "use_rslora": True}),
    Case("PEFT", "lora", "bias of the factor", options={"r": 4, "lora_alpha": 16, "lora_bias": True}),
    Case("PEFT", "lora", "patterns", options={
        "r": 2, "lora_alpha": 3, "rank_pattern": {"to_q": 4, "to_out.0": 3, "conv1": 4, "conv_shortcut": 1},
        "alpha_pattern": {"attn2.to_q": 12, "resnets.0.conv1": 6}}),
    Case("PEFT", "dora", "alpha not r", options={"r": 4, "lora_alpha": 16, "use_dora": True}),
    Case("PEFT", "loha", "alpha not r", options={"r": 4, "alpha": 16}),
    Case("PEFT", "loha", "with core", CORE, {"r": 4, "alpha": 16, "use_effective_conv2d": True}),
    Case("PEFT", "lokr", "alpha not r", options={"r": 1, "alpha": 3, "decompose_factor": 4}),
    Case("PEFT", "lokr", "both factored", options={"r": 1, "alpha": 3, "decompose_factor": 4, "decompose_both": True}),
    Case("PEFT", "lokr", "both whole", options={"r": 16, "alpha": 4}),
    Case("PEFT", "lokr", "with core", CORE, {"r": 2, "alpha": 3, "decompose_factor": 2, "use_effective_conv2d": True}),
    Case("PEFT", "oftv2", "exact", LINEAR, {"r": 0, "oft_block_size": 4, "use_cayley_neumann": False}),
    Case("PEFT", "oftv2", "series", LINEAR, {"r": 0, "oft_block_size": 4, "use_cayley_neumann": True}),
    Case("PEFT", "oftv2", "merged", ("conv 3×3",), {"r": 0, "oft_block_size": 4, "use_cayley_neumann": False}),
    Case("PEFT", "oftv2", "shared", LINEAR, {"r": 0, "oft_block_size": 4, "block_share": True}),
]  # fmt: skip

# Where the library at a strength other than 1 is something else than W + strength × (its W at 1 − W), and why that is
# what is done here: the WebUIs do so, and a block weight of ½ is to be half of the change.
NOT_LINEAR = {
    ("LyCORIS", "dora"): "LyCORIS scales the magnitudes' change with the direction's kept whole",
    ("LyCORIS", "doha"): "as its DoRA",
    ("LyCORIS", "dokr"): "as its DoRA",
    ("LyCORIS", "boft"): "LyCORIS moves each of the stages towards the identity",
    ("LyCORIS", "oft rescaled"): "LyCORIS rescales whole at every strength",
    ("PEFT", "dora"): "PEFT scales the direction's change with the magnitudes kept whole",
    ("PEFT", "oftv2"): "PEFT has no strength for a rotation",
}


def reason(case: Case) -> str | None:
    """Return why the library's own strength is not followed, if it is not."""
    return NOT_LINEAR.get((case.library, case.kind)) or NOT_LINEAR.get((case.library, f"{case.kind} {case.variant}"))


def change(weights: Weights, base: Weights) -> torch.Tensor:
    """Return the change of weight and bias, as one vector in double precision."""
    parts = [(one.double() - two.double()).flatten() for one, two in zip(weights, base) if one is not None]
    return torch.cat(parts)


def ours(path: Path, base: Weights, dtype: torch.dtype, strength: float) -> Weights:
    """Return the weight and bias after merging the file's one module into the base, which is stored as `dtype`."""
    ((_, parameters),) = open_lora(path).parameters()
    weight, bias = base
    found = delta(parameters, weight.to(dtype))
    assert found.weight.dtype == torch.float32
    assert found.weight.shape == weight.shape
    moved = bias if found.bias is None else bias.double() + strength * found.bias
    return weight.double() + strength * found.weight, moved


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", [*LYCORIS, *PEFT], ids=str)
@torch.no_grad()
def test_the_merged_weight_is_the_one_that_the_library_applies(
    case: Case, dtype: str, tmp_path: Path, numbers_table: Table
) -> None:
    for layer in case.layers:
        folder = tmp_path / layer.replace("×", "x")
        folder.mkdir()
        made = make(case, layer, DTYPES[dtype], folder)
        whole = change(made.at(1.0), made.base)
        assert whole.norm() > 0.01
        for strength in STRENGTHS:
            library = change(made.at(strength), made.base)
            wanted = library if reason(case) is None else strength * whole
            error = float((change(ours(made.path, made.base, DTYPES[dtype], strength), made.base) - wanted).norm())
            relative = error / float(wanted.norm())
            numbers_table.add(case.library, case.kind, layer, dtype, relative)
            assert relative < 1e-5, (layer, strength)


@pytest.mark.parametrize("case", [c for c in [*LYCORIS, *PEFT] if reason(c)], ids=str)
@torch.no_grad()
def test_where_a_library_s_own_strength_is_not_followed_it_differs(
    case: Case, tmp_path: Path, numbers_table: Table
) -> None:
    made = make(case, case.layers[0], torch.float32, tmp_path)
    half = 0.5 * change(made.at(1.0), made.base)
    differs = float((change(made.at(0.5), made.base) - half).norm() / half.norm())
    assert differs > 1e-2
    numbers_table.tell(f"{case} at ×½ is {differs:.0%} off half of its change at ×1: {reason(case)}")


@pytest.mark.parametrize("kind", ["loha", "lokr"])
@torch.no_grad()
def test_the_merge_of_lycoris_scales_twice_and_its_training_once(
    kind: str, tmp_path: Path, numbers_table: Table
) -> None:
    from lycoris import modules

    layer = torch.nn.Linear(16, 32).requires_grad_(False)
    options = {"lokr": {"factor": 4, "lora_dim": 2}, "loha": {"lora_dim": 2}}[kind]
    module = {"lokr": modules.LokrModule, "loha": modules.LohaModule}[kind]("l", layer, 1.0, alpha=1.0, **options)
    for parameter in module.parameters():
        parameter.copy_(torch.randn(parameter.shape))
    trained = module.eval()(torch.eye(16)).T - layer.bias[:, None] - layer.weight
    merged = module.get_merged_weight(1.0)[0] - layer.weight
    torch.testing.assert_close(merged, 0.5 * trained, rtol=1e-4, atol=1e-5)
    file = {name: tensor for name, tensor in module.state_dict().items() if name != "dtype_tensor"}
    torch.testing.assert_close(delta(file, layer.weight).weight, trained, rtol=1e-4, atol=1e-5)
    numbers_table.tell(
        f"LyCORIS' get_merged_weight of {kind} has alpha / rank squared; its training, which is followed, once"
    )


@torch.no_grad()
def test_peft_s_rotation_of_a_convolution_is_followed_as_it_merges_it(tmp_path: Path, numbers_table: Table) -> None:
    options = {"r": 0, "oft_block_size": 4, "use_cayley_neumann": False}
    made = {}
    for variant in ("", "merged"):
        folder = tmp_path / f"of{variant}"
        folder.mkdir()
        case = Case("PEFT", "oftv2", variant, ("conv 3×3",), options)
        made[variant] = make(case, "conv 3×3", torch.float32, folder)
    loaded, merged = (change(made[variant].at(1.0), made[variant].base) for variant in ("", "merged"))
    differs = float((loaded - merged).norm() / merged.norm())
    assert differs > 0.1
    numbers_table.tell(f"PEFT's oftv2 of a conv 3×3 as it runs is {differs:.0%} off what it merges, which is followed")


def test_every_layer_is_compared() -> None:
    assert {layer for case in [*LYCORIS, *PEFT] for layer in case.layers} == LAYERS.keys() >= set(PLAIN)
