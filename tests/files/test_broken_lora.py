"""Broken LoRA files: each raises an error of this project that names the tensors, and never puts NaN into a weight."""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lbw.analysis.changes import read_changes
from lbw.core.errors import FileError
from lbw.files.delta import change_without_base, delta, factors, output_rows
from lbw.files.lora import open_lora
from lbw.files.parameters import unused

NAME = "lora_unet_output_blocks_1_1_transformer_blocks_1_attn2_to_out_0"
OTHER = "lora_unet_output_blocks_1_1_transformer_blocks_1_attn2_to_q"
Tensors = dict[str, torch.Tensor]


def ones(**shapes: tuple[int, ...]) -> Tensors:
    """Return parameters of ones, by their names with dots for double underlines."""
    return {name.replace("__", "."): torch.ones(shape) for name, shape in shapes.items()}


LORA = ones(lora_up__weight=(8, 2), lora_down__weight=(2, 6))
BROKEN = {
    "LoKr with the first half alone": (ones(lokr_w1=(2, 2)), "lacks lokr_w2 or lokr_w2_a and lokr_w2_b"),
    "LoKr with half of the second half": (ones(lokr_w1=(2, 2), lokr_w2_a=(4, 2)), "lacks lokr_w2 or lokr_w2_a"),
    "up without down": (ones(lora_up__weight=(8, 2)), "lacks lora_down.weight"),
    "down without up": (ones(lora_down__weight=(2, 6)), "lacks lora_up.weight"),
    "rank 0": (ones(lora_up__weight=(8, 0), lora_down__weight=(0, 6), alpha=()), "rank 0"),
    "rank 0 of LoHa": (ones(hada_w1_a=(8, 0), hada_w1_b=(0, 6), hada_w2_a=(8, 0), hada_w2_b=(0, 6)), "rank 0"),
    "rank 0 of LoKr": (ones(lokr_w1=(2, 2), lokr_w2_a=(4, 0), lokr_w2_b=(0, 3)), "rank 0"),
    "ranks that differ": (ones(lora_up__weight=(8, 2), lora_down__weight=(3, 6)), "different ranks"),
    "a core of another rank": (
        ones(lora_up__weight=(8, 2, 1, 1), lora_mid__weight=(2, 3, 3, 3), lora_down__weight=(2, 6, 1, 1)),
        "different ranks",
    ),
    "ranks of LoKr that differ": (
        ones(lokr_w1_a=(2, 3), lokr_w1_b=(3, 2), lokr_w2_a=(4, 2), lokr_w2_b=(2, 3)),
        "different ranks",
    ),
    "one core of LoHa": (
        ones(hada_w1_a=(2, 8), hada_w1_b=(2, 6), hada_w2_a=(2, 8), hada_w2_b=(2, 6), hada_t1=(2, 2, 3, 3)),
        "hada_t2",
    ),
    "alpha as a vector": ({**LORA, "alpha": torch.ones(4)}, "alpha of a module must be a single number"),
    "alpha that is empty": ({**LORA, "alpha": torch.ones(0)}, "alpha of a module must be a single number"),
    "factors that are vectors": (
        ones(lora_up__weight=(8,), lora_down__weight=(6,)),
        "factors of a module must be matrices",
    ),
    "IA3 without its numbers": (ones(on_input=()), "lacks weight"),
    "GLoRA without half of it": (ones(a1__weight=(2, 6), a2__weight=(6, 2)), "lacks b1.weight and b2.weight"),
    "a decomposition of nothing": (ones(dora_scale=(8, 1)), "of an unknown kind"),
}


def write(path: Path, parameters: Tensors, name: str = NAME, **more: Tensors) -> Path:
    tensors = {f"{name}.{key}": tensor for key, tensor in parameters.items()}
    tensors |= {f"{OTHER}.{key}": tensor for key, tensor in more.get("other", {}).items()}
    save_file(tensors, str(path))
    return path


@pytest.mark.parametrize("case", BROKEN)
def test_a_module_that_makes_no_sense_says_why(case: str, tmp_path: Path) -> None:
    parameters, reason = BROKEN[case]
    with pytest.raises(FileError, match=reason):
        delta(parameters, torch.ones(8, 6))
    with pytest.raises(FileError, match=reason):
        change_without_base(parameters)
    with pytest.raises(FileError, match=f"{NAME}.*{reason}"):
        read_changes(open_lora(write(tmp_path / "a.safetensors", parameters)))


@pytest.mark.parametrize("size", [1, 7, 16])
def test_a_bias_of_another_size_says_so(size: int) -> None:
    with pytest.raises(FileError, match=f"a bias of {size} values, but the layer has 8 outputs"):
        delta({"diff": torch.ones(8, 6), "diff_b": torch.ones(size)}, torch.ones(8, 6))


def test_a_magnitude_for_another_layer_is_refused() -> None:
    for magnitude in (torch.ones(1, 8), torch.ones(1, 1), torch.ones(7)):
        with pytest.raises(FileError, match="does not fit a weight of shape"):
            delta({**LORA, "dora_scale": magnitude}, torch.ones(8, 6))


def test_a_vector_cannot_be_decomposed() -> None:
    with pytest.raises(FileError, match="does not fit a weight of shape"):
        delta({"w_norm": torch.ones(4), "dora_scale": torch.ones(4)}, torch.ones(4))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float8_e5m2])
@pytest.mark.parametrize("where", ["lora_up.weight", "alpha"])
def test_nan_and_infinity_are_named_with_their_tensors_and_counted(
    bad: float, dtype: torch.dtype, where: str, tmp_path: Path
) -> None:
    parameters = {**LORA, "alpha": torch.tensor(2.0)}
    spoiled = {name: tensor.clone() for name, tensor in parameters.items()}
    spoiled[where].view(-1)[0] = bad
    modules = ({name: tensor.to(dtype) for name, tensor in part.items()} for part in (parameters, spoiled))
    path = write(tmp_path / "a.safetensors", next(modules), other=next(modules))
    with pytest.raises(FileError, match=f"NaN or infinity in 1 tensor: {OTHER}.{where}"):
        read_changes(open_lora(path))


def test_all_tensors_with_nan_are_counted_and_the_first_are_named(tmp_path: Path) -> None:
    tensors = {f"{NAME}.lora_up.weight": torch.ones(8, 2), f"{NAME}.lora_down.weight": torch.full((2, 6), torch.nan)}
    for number in range(7):
        name = NAME.replace("_1_attn2", f"_{number}_attn1")
        tensors[f"{name}.lora_up.weight"] = torch.full((8, 2), torch.inf)
        tensors[f"{name}.lora_down.weight"] = torch.ones(2, 6)
    save_file(tensors, str(tmp_path / "a.safetensors"))
    with pytest.raises(FileError, match=r"NaN or infinity in 8 tensors: (lora_unet_\S+, ){5}…"):
        list(open_lora(tmp_path / "a.safetensors").parameters())


def test_numbers_that_overflow_when_multiplied_are_no_change() -> None:
    huge = {"lora_up.weight": torch.full((8, 2), 3e38), "lora_down.weight": torch.full((2, 6), 3e38)}
    with pytest.raises(FileError, match="is not finite"):
        delta(huge, torch.ones(8, 6))
    with pytest.raises(FileError, match="is not finite"):
        change_without_base({"hada_w1_a": huge["lora_up.weight"], "hada_w1_b": huge["lora_down.weight"],
                             "hada_w2_a": huge["lora_up.weight"], "hada_w2_b": huge["lora_down.weight"]})  # fmt: skip


@pytest.mark.parametrize(("dtype", "bits"), [("F4", 4), ("F6_E2M3", 6), ("F8_E8M0", 8), ("I8", 8), ("C64", 64)])
def test_numbers_of_a_type_that_is_no_lora_s_are_named(dtype: str, bits: int, tmp_path: Path) -> None:
    entries, place = {}, 0
    for name, shape in ((f"{NAME}.lora_up.weight", (8, 4)), (f"{NAME}.lora_down.weight", (4, 8))):
        size = 32 * bits // 8
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + size]}
        place += size
    header = json.dumps(entries).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(place))
    with pytest.raises(FileError, match=f"of type {dtype},.* in 2 tensors: {NAME}"):
        read_changes(open_lora(path))


@pytest.mark.parametrize("name", ["a\0b.safetensors", "a\ud800.safetensors"])
def test_a_name_that_no_file_can_have_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileError) as told:
        open_lora(tmp_path / name)
    assert ascii(str(tmp_path / name)) in str(told.value)
    whole = open_lora(write(tmp_path / "a.safetensors", LORA))
    with pytest.raises(FileError):
        list(replace(whole, path=tmp_path / name).parameters())


NAMES = (
    "lora_up.weight", "lora_down.weight", "lora_mid.weight", "lora_up.bias", "hada_w1_a", "hada_w1_b", "hada_w2_a",
    "hada_w2_b", "hada_t1", "hada_t2", "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b",
    "lokr_t2", "on_input", "weight", "a1.weight", "a2.weight", "b1.weight", "b2.weight", "oft_blocks", "oft_diag",
    "rescale", "oft_R.weight", "oft_R.scaled_oft", "w_norm", "b_norm", "diff", "diff_b", "alpha",
    "scale", "dora_scale", "magnitude", "bias",
)  # fmt: skip
SHAPES = st.lists(st.integers(0, 4), max_size=5).map(tuple)
OF_ONE_KIND = [
    name for parameters, _ in BROKEN.values() for name in [tuple(parameters)]
] + [("oft_blocks", "rescale"), ("oft_R.weight",), ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")]  # fmt: skip


@settings(max_examples=400)
@given(
    names=st.sampled_from(OF_ONE_KIND).flatmap(
        lambda some: st.dictionaries(st.sampled_from(NAMES), SHAPES, max_size=3).flatmap(
            lambda more: st.fixed_dictionaries(dict.fromkeys(some, SHAPES)).map(lambda shapes: more | shapes)
        )
    ),
    weight=st.sampled_from([(4, 4), (4, 2), (4, 2, 3, 3), (4, 4, 1, 1), (4,)]),
    number=st.sampled_from([0.0, 1.0, 0.5, -3.0, 1e30, torch.nan]),
)
def test_whatever_a_module_holds_the_change_is_finite_or_the_error_ours(
    names: dict[str, tuple[int, ...]], weight: tuple[int, ...], number: float
) -> None:
    parameters = {name: torch.full(shape, number) for name, shape in names.items()}
    try:
        found = delta(parameters, torch.ones(weight))
    except FileError:
        pass
    else:
        assert found.weight.shape == weight
        assert found.weight.isfinite().all()
    for function in (change_without_base, factors, output_rows):
        with contextlib.suppress(FileError):
            function(parameters)


def test_an_alpha_that_is_a_whole_number_or_in_a_list_of_one_is_understood(tmp_path: Path) -> None:
    for alpha in (torch.tensor(1), torch.tensor([1.0])):
        path = write(tmp_path / "a.safetensors", {**LORA, "alpha": alpha})
        ((_, parameters),) = open_lora(path).parameters()
        torch.testing.assert_close(delta(parameters, torch.zeros(8, 6)).weight, torch.full((8, 6), 1.0))


def test_a_bias_alone_is_a_change_of_the_bias_and_nothing_else() -> None:
    found = delta({"diff_b": torch.arange(8.0)}, torch.ones(8, 6))
    assert not found.weight.any()
    assert found.bias is not None
    assert found.bias.tolist() == list(range(8))
    change = change_without_base({"diff_b": torch.arange(8.0)})
    assert change is not None
    assert change.shape[0] == 8
    assert not change.any()


def test_parameters_that_nothing_is_computed_from_are_known() -> None:
    assert unused([*LORA, "alpha", "bias", "reshape_weight"]) == ["bias", "reshape_weight"]
    assert unused([*LORA, "lora_mid.weight", "dora_scale", "lora_up.bias"]) == []
