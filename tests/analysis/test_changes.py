"""Sizes and overlaps against whole matrices in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")

import torch
from safetensors.torch import save_file

from lbw.analysis.changes import Changes, overlaps, read_changes, sizes
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import Site, locate
from lbw.core.errors import FileError, HostError
from lbw.files.lora import open_lora

SDXL = ARCHITECTURES["sdxl"]

TEXT = "lora_te1_text_model_encoder_layers_0_mlp_fc1"  # BASE
IN4, IN4K = (f"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_{letter}" for letter in "qk")
IN5 = "lora_unet_input_blocks_5_1_proj_in"
MIDDLE = "lora_unet_middle_block_0_in_layers_2"
OUT = "lora_unet_output_blocks_1_1_transformer_blocks_1_attn2_to_out_0"  # tells that the file is for SDXL
Tensors = dict[str, "torch.Tensor"]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def changes_of(path: Path, tensors: Tensors, base: Callable[[Site], torch.Tensor | None] | None = None) -> Changes:
    """Write `tensors` to a file and read its changes."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, str(path))
    file = open_lora(path)
    assert file.architecture is SDXL
    return read_changes(file, base)


# Each returns a module's tensors, and ΔW as (rows, columns) in double precision, by the kind's definition. -------


def linear(name: str, generator: torch.Generator, alpha: float | None = None, rank: int = 3) -> tuple[Tensors, object]:
    up, down = torch.randn(10, rank, generator=generator), torch.randn(rank, 8, generator=generator)
    tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    if alpha is not None:
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
    scale = 1 if alpha is None else alpha / rank
    return tensors, up.double().numpy() @ down.double().numpy() * scale


def conv(name: str, generator: torch.Generator, size: int) -> tuple[Tensors, object]:
    up = torch.randn(6, 2, 1, 1, generator=generator)
    down = torch.randn(2, 5, size, size, generator=generator)
    whole = np.einsum("or,rixy->oixy", up.double().numpy()[:, :, 0, 0], down.double().numpy()) * (1.5 / 2)
    tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": torch.tensor(1.5)}
    return tensors, whole.reshape(6, -1)


def loha(name: str, generator: torch.Generator) -> tuple[Tensors, object]:
    parts = {
        f"{name}.hada_w{number}_{side}": torch.randn(*shape, generator=generator)
        for number in (1, 2)
        for side, shape in (("a", (6, 2)), ("b", (2, 5)))
    }
    halves = [
        parts[f"{name}.hada_w{number}_a"].double().numpy() @ parts[f"{name}.hada_w{number}_b"].double().numpy()
        for number in (1, 2)
    ]
    return {**parts, f"{name}.alpha": torch.tensor(1.0)}, halves[0] * halves[1] * (1 / 2)


def lokr(name: str, generator: torch.Generator) -> tuple[Tensors, object]:
    one = torch.randn(3, 2, generator=generator)
    a, b = torch.randn(4, 2, generator=generator), torch.randn(2, 5, generator=generator)
    whole = np.kron(one.double().numpy(), a.double().numpy() @ b.double().numpy()) * (0.5 / 2)
    tensors = {f"{name}.lokr_w1": one, f"{name}.lokr_w2_a": a, f"{name}.lokr_w2_b": b}
    return {**tensors, f"{name}.alpha": torch.tensor(0.5)}, whole


def full(name: str, generator: torch.Generator) -> tuple[Tensors, object]:
    diff = torch.randn(6, 5, 3, 3, generator=generator)
    return {f"{name}.diff": diff}, diff.double().numpy().reshape(6, -1)


KINDS = {
    "linear": linear,
    "linear with alpha": lambda name, generator: linear(name, generator, 0.7),
    "1x1 convolution": lambda name, generator: conv(name, generator, 1),
    "3x3 convolution": lambda name, generator: conv(name, generator, 3),
    "LoHa": loha,
    "LoKr": lokr,
    "full": full,
}


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_and_overlaps_are_those_of_the_whole_matrices(
    kind: str, generator: torch.Generator, tmp_path: Path
) -> None:
    marker, _ = linear(OUT, generator)
    (one, first), (two, second) = (KINDS[kind](MIDDLE, generator) for _ in range(2))
    changes = [changes_of(tmp_path / f"{n}.safetensors", {**marker, **t}) for n, t in enumerate((one, two))]
    norms = [np.linalg.norm(whole) for whole in (first, second)]
    for found, norm in zip(changes, norms):
        by_block = {size.block: size for size in sizes(found)}
        assert list(by_block) == ["M00", "OUT01"]
        assert by_block["M00"].norm == pytest.approx(norm, rel=1e-5)
        assert (by_block["M00"].modules, by_block["M00"].base_norm, by_block["M00"].relative) == (1, None, None)
    cosine = float((first * second).sum() / (norms[0] * norms[1]))
    found = {overlap.block: overlap for overlap in overlaps(*changes)}
    assert found["M00"].cosine == pytest.approx(cosine, rel=1e-4, abs=1e-6)
    assert found["M00"].shared == 1
    assert found["OUT01"].cosine == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lora_overlaps_with_itself_and_against_its_negative(
    kind: str, generator: torch.Generator, tmp_path: Path
) -> None:
    tensors, _ = KINDS[kind](MIDDLE, generator)
    turned = {
        "lora_up.weight": -1, "hada_w1_a": -1, "lokr_w1": -1, "diff": -1,
    }  # fmt: skip
    negative = {name: tensor * turned.get(name.partition(".")[2], 1) for name, tensor in tensors.items()}
    marker, _ = linear(OUT, generator)
    there = changes_of(tmp_path / "a.safetensors", {**marker, **tensors})
    back = changes_of(tmp_path / "b.safetensors", {**marker, **negative})
    for other, cosine in ((there, 1), (back, -1)):
        assert {o.block: o.cosine for o in overlaps(there, other)} == pytest.approx({"M00": cosine, "OUT01": 1})


def test_two_ways_to_write_one_change_overlap_fully(generator: torch.Generator, tmp_path: Path) -> None:
    factored, whole = conv(OUT, generator, 3)
    diff = torch.tensor(whole).reshape(6, 5, 3, 3).float() * 3
    one = changes_of(tmp_path / "a.safetensors", factored)
    two = changes_of(tmp_path / "b.safetensors", {f"{OUT}.diff": diff})
    for found in (overlaps(one, two), overlaps(two, one)):
        assert [overlap.cosine for overlap in found] == [pytest.approx(1)]


def test_a_block_is_all_its_modules(generator: torch.Generator, tmp_path: Path) -> None:
    (q, whole_q), (k, whole_k), (k2, whole_k2) = (linear(name, generator) for name in (IN4, IN4K, IN4K))
    text, whole_text = linear(TEXT, generator, 2.0)
    marker, _ = linear(OUT, generator)
    one = changes_of(tmp_path / "a.safetensors", {**q, **k, **text, **marker})
    two = changes_of(tmp_path / "b.safetensors", {**k2, **linear(IN5, generator)[0], **marker})
    found = {size.block: size for size in sizes(one)}
    assert list(found) == ["BASE", "IN04", "OUT01"]
    assert found["IN04"].modules == 2
    norm = math.sqrt((whole_q**2).sum() + (whole_k**2).sum())
    assert found["IN04"].norm == pytest.approx(norm, rel=1e-5)
    assert found["BASE"].norm == pytest.approx(np.linalg.norm(whole_text), rel=1e-5)
    shared = {overlap.block: overlap for overlap in overlaps(one, two)}
    assert list(shared) == ["IN04", "OUT01"]
    # Only attn1_to_k is changed by both, and the first changes more than that.
    cosine = (whole_k * whole_k2).sum() / (norm * np.linalg.norm(whole_k2))
    assert shared["IN04"].cosine == pytest.approx(cosine, rel=1e-4)
    assert shared["IN04"].shared == 1


def test_weights_of_another_shape_are_not_shared(generator: torch.Generator, tmp_path: Path) -> None:
    one = changes_of(tmp_path / "a.safetensors", linear(OUT, generator)[0])
    other = {f"{OUT}.lora_up.weight": torch.ones(4, 2), f"{OUT}.lora_down.weight": torch.ones(2, 8)}
    assert overlaps(one, changes_of(tmp_path / "b.safetensors", other)) == []


def test_a_change_of_nothing_overlaps_with_nothing(generator: torch.Generator, tmp_path: Path) -> None:
    tensors, _ = linear(OUT, generator)
    nothing = {name: tensor * 0 for name, tensor in tensors.items()}
    one, two = (changes_of(tmp_path / f"{n}.safetensors", t) for n, t in enumerate((tensors, nothing)))
    assert [overlap.cosine for overlap in overlaps(one, two)] == [0]
    assert [size.norm for size in sizes(two)] == [0]


def test_sizes_relative_to_the_model(generator: torch.Generator, tmp_path: Path) -> None:
    tensors, whole = linear(OUT, generator)
    weight = torch.randn(10, 8, generator=generator)
    asked: list[Site] = []

    def base(site: Site) -> torch.Tensor | None:
        asked.append(site)
        return weight.half()

    (size,) = sizes(changes_of(tmp_path / "a.safetensors", tensors), base)
    assert [site.block for site in asked] == ["OUT01"]
    wanted = np.linalg.norm(weight.half().double().numpy())
    assert size.base_norm == pytest.approx(wanted)
    assert size.relative == pytest.approx(np.linalg.norm(whole) / wanted, rel=1e-5)
    (size,) = sizes(changes_of(tmp_path / "a.safetensors", tensors), lambda site: None)
    assert (size.base_norm, size.relative) == (None, None)


def needing(generator: torch.Generator) -> dict[str, Tensors]:
    """Return modules of the kinds whose change follows from the weight of (10, 8)."""
    lora, _ = linear(OUT, generator)
    return {
        "dora": {**lora, f"{OUT}.dora_scale": torch.rand(1, 8, generator=generator) + 0.5},
        "ia3": {f"{OUT}.weight": torch.randn(10, 1, generator=generator), f"{OUT}.on_input": torch.tensor(False)},
        "oft": {f"{OUT}.oft_diag": torch.linalg.qr(torch.randn(5, 2, 2, generator=generator))[0]},
    }


@pytest.mark.parametrize("kind", ["dora", "ia3", "oft"])
def test_kinds_that_change_by_the_weight_need_the_model(kind: str, generator: torch.Generator, tmp_path: Path) -> None:
    marker, _ = linear(IN4.replace("input_blocks_4", "input_blocks_7"), generator)
    tensors = {**marker, **needing(generator)[kind]}
    with pytest.raises(HostError, match=rf"the change of {OUT} \({kind}\) depends on the model; pass --model"):
        changes_of(tmp_path / "a.safetensors", tensors)
    found = changes_of(tmp_path / "a.safetensors", tensors, lambda site: None)
    assert [size.block for size in sizes(found)] == ["IN07"]


def test_with_the_model_their_sizes_are_those_of_their_changes(generator: torch.Generator, tmp_path: Path) -> None:
    weight = torch.randn(10, 8, generator=generator)
    given = needing(generator)
    w = weight.double().numpy()
    found = {
        kind: sizes(changes_of(tmp_path / f"{kind}.safetensors", tensors, {locate(OUT, SDXL): weight}.get))[0].norm
        for kind, tensors in given.items()
    }
    rows = given["ia3"][f"{OUT}.weight"].double().numpy()
    rotated = np.concatenate(
        [given["oft"][f"{OUT}.oft_diag"][n].double().numpy().T @ w[2 * n : 2 * n + 2] for n in range(5)]
    )
    lora = given["dora"]
    merged = w + lora[f"{OUT}.lora_up.weight"].double().numpy() @ lora[f"{OUT}.lora_down.weight"].double().numpy()
    magnitude = lora[f"{OUT}.dora_scale"].double().numpy()
    decomposed = merged / np.linalg.norm(merged, axis=0, keepdims=True) * magnitude
    assert found["ia3"] == pytest.approx(np.linalg.norm(w * rows), rel=1e-5)
    assert found["oft"] == pytest.approx(np.linalg.norm(rotated - w), rel=1e-5)
    assert found["dora"] == pytest.approx(np.linalg.norm(decomposed - w), rel=1e-4)


def test_shapes_that_do_not_fit_each_other_are_named(generator: torch.Generator, tmp_path: Path) -> None:
    tensors, _ = loha(OUT, generator)
    tensors[f"{OUT}.hada_w2_b"] = torch.ones(2, 4)
    with pytest.raises(FileError, match=r"do not fit together: .*hada_w2_b \(2, 4\)"):
        changes_of(tmp_path / "a.safetensors", tensors)


def test_parts_of_one_fused_weight_are_compared_by_their_name(generator: torch.Generator, tmp_path: Path) -> None:
    up, down = torch.randn(10, 3, generator=generator), torch.randn(3, 8, generator=generator)
    found = []
    for part in ("q", "k"):
        name = f"transformer.transformer_blocks.0.attn.to_{part}"
        path = tmp_path / f"{part}.safetensors"
        about = {"modelspec.architecture": "flux-1-dev/lora"}
        save_file({f"{name}.lora_B.weight": up, f"{name}.lora_A.weight": down}, str(path), about)
        found.append(read_changes(open_lora(path)))
    assert [overlap for overlap in overlaps(*found) if overlap.cosine > 0.5] == []


def test_parts_are_the_same_in_names_with_points_and_with_lines(generator: torch.Generator, tmp_path: Path) -> None:
    lines = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj"
    points = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    up, down = torch.randn(10, 3, generator=generator), torch.randn(3, 8, generator=generator)
    marker, _ = linear(OUT, generator)
    one = {f"{lines}.lora_up.weight": up, f"{lines}.lora_down.weight": down}
    two = {f"{points}.lora_B.weight": up, f"{points}.lora_A.weight": down}
    found = [changes_of(tmp_path / f"{n}.safetensors", {**marker, **tensors}) for n, tensors in enumerate((one, two))]
    assert {o.block: (o.cosine, o.shared) for o in overlaps(*found)} == {
        "BASE": (pytest.approx(1), 1),
        "OUT01": (pytest.approx(1), 1),
    }
