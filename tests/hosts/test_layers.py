"""Modules of a LoRA and layers of a pipeline that are cut differently: fused, split, or with swapped halves."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lbw.files.delta import delta  # noqa: E402
from lbw.hosts.layers import Layer, Whole  # noqa: E402

HEIGHTS = {"q": 6, "k": 2, "v": 2}


def layer(rows: int, columns: int = 4) -> Any:
    made = Layer(torch.nn.Linear(columns, rows))
    made.base()
    return made


def lora(rows: int, columns: int = 4, **more: Any) -> dict[str, Any]:
    return {"lora_up.weight": torch.randn(rows, 2), "lora_down.weight": torch.randn(2, columns), **more}


def product(parameters: dict[str, Any]) -> Any:
    return parameters["lora_up.weight"] @ parameters["lora_down.weight"]


def added(changed: Any) -> Any:
    return changed.parameter.detach() - changed.base()[0]


@pytest.fixture
def split() -> Whole:
    """The layers q, k and v, not in order, of heads that share keys and values."""
    return Whole(("q", "k", "v"), [((part,), layer(HEIGHTS[part])) for part in "vqk"])


def of(whole: Whole, part: str) -> Any:
    return next(layer for parts, layer in whole.layers if parts == (part,))


def test_a_fused_module_is_cut_where_the_layers_end(split: Whole) -> None:
    parameters = lora(10)
    with torch.no_grad():
        assert split.merge([(0.5, (), parameters)]) == 3
    for part, wanted in zip("qkv", (0.5 * product(parameters)).split([6, 2, 2])):
        torch.testing.assert_close(added(of(split, part)), wanted)


@pytest.mark.parametrize("kind", ["dora of outputs", "dora of inputs", "oft", "ia3"])
def test_a_kind_that_looks_at_the_weight_sees_all_of_it_in_the_originals_order(split: Whole, kind: str) -> None:
    parameters = {
        "dora of outputs": lora(10, dora_scale=torch.rand(10, 1) + 0.5),
        "dora of inputs": lora(10, dora_scale=torch.rand(1, 4) + 0.5),
        "oft": {"oft_blocks": torch.randn(2, 5, 5), "alpha": torch.tensor(0.0)},
        "ia3": {"on_input": torch.tensor(0), "weight": torch.randn(10)},
    }[kind]
    whole = torch.cat([of(split, part).base()[0] for part in "qkv"])
    with torch.no_grad():
        split.merge([(1.0, (), parameters)])
    wanted = delta(parameters, whole).weight
    torch.testing.assert_close(torch.cat([added(of(split, part)) for part in "qkv"]), wanted)


def test_a_part_changes_its_layer_alone_and_goes_again(split: Whole) -> None:
    parameters = lora(2)
    with torch.no_grad():
        assert split.merge([]) == 0
        assert split.merge([(1.0, ("k",), parameters)]) == 1
        torch.testing.assert_close(added(of(split, "k")), product(parameters))
        assert not any(of(split, part).is_changed for part in "qv")
        assert split.merge([(1.0, ("v",), parameters)]) == 2
        assert split.merge([(2.0, ("v",), parameters)]) == 1  # k has its base already
    assert torch.equal(of(split, "k").parameter, of(split, "k").base()[0])


def test_several_parts_in_one_module_are_the_layers_in_that_order(split: Whole) -> None:
    parameters = lora(8)
    with torch.no_grad():
        split.merge([(1.0, ("q", "v"), parameters)])
    wanted = product(parameters).split([6, 2])
    torch.testing.assert_close(added(of(split, "q")), wanted[0])
    torch.testing.assert_close(added(of(split, "v")), wanted[1])


def test_a_change_of_the_bias_is_cut_as_the_weights_is(split: Whole) -> None:
    change = torch.randn(10)
    biases = {part: of(split, part).bias.detach().clone() for part in "qkv"}
    with torch.no_grad():
        split.merge([(2.0, (), {"diff": torch.randn(10, 4), "diff_b": change})])
    for part, wanted in zip("qkv", (2 * change).split([6, 2, 2])):
        torch.testing.assert_close(of(split, part).bias.detach(), biases[part] + wanted)
    split.restore()
    assert all(torch.equal(of(split, part).bias, biases[part]) for part in "qkv")


def test_swapped_halves_find_each_other() -> None:
    whole = Whole(("shift", "scale"), [(("scale", "shift"), layer(8))])
    parameters = lora(8)
    with torch.no_grad():
        whole.merge([(1.0, (), parameters)])
    shift, scale = product(parameters).split(4)
    torch.testing.assert_close(added(whole.layers[0][1]), torch.cat([scale, shift]))
    with torch.no_grad():
        whole.merge([(1.0, ("scale", "shift"), parameters)])
    torch.testing.assert_close(added(whole.layers[0][1]), product(parameters))


@pytest.mark.parametrize(
    ("order", "rows", "part", "height", "start"),
    [
        (("q", "k", "v"), 12, "k", 4, 4),
        (("q", "k", "v", "mlp"), 28, "v", 4, 8),
        (("q", "k", "v", "mlp"), 28, "mlp", 16, 12),
    ],
)
def test_a_part_finds_its_rows_in_a_fused_layer(
    order: tuple[str, ...], rows: int, part: str, height: int, start: int
) -> None:
    whole = Whole(order, [((), layer(rows))])
    parameters = lora(height)
    with torch.no_grad():
        whole.merge([(1.0, (part,), parameters)])
    change = added(whole.layers[0][1])
    torch.testing.assert_close(change[start : start + height], product(parameters))
    assert not change[:start].any()
    assert not change[start + height :].any()


def test_a_part_whose_rows_cannot_be_told_has_no_place() -> None:
    whole = Whole(("q", "k", "v"), [((), layer(10))])
    assert whole.rows(("k",), lora(2)) is None
    assert whole.rows(("q",), lora(6)) is None
    assert whole.rows(("k",)) is None
    assert whole.rows(("mlp",)) is None
    # Beside q, k and v of four rows there would be two for the last part, which is the highest.
    assert Whole(("q", "k", "v", "mlp"), [((), layer(14))]).rows(("q",), lora(4)) is None


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_changes_are_summed_in_float32_and_rounded_once(part: str) -> None:
    module = torch.nn.Linear(1, 1, dtype=torch.float16)
    module.weight.data.zero_()
    module.bias.data.zero_()
    whole = Whole((), [((), Layer(module))])
    changes = []
    for number in (2048.0, 1.0, -2048.0):  # the first two make 2048 in float16
        diff = {"diff": torch.zeros(1, 1), "diff_b": torch.zeros(1)}
        diff["diff" if part == "weight" else "diff_b"].fill_(number)
        changes.append((1.0, (), diff))
    with torch.no_grad():
        whole.merge(changes)
    assert getattr(module, part).item() == 1.0


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.bfloat16])
def test_a_weight_of_few_bits_takes_a_change_and_gives_it_back(dtype: Any) -> None:
    module = torch.nn.Linear(2, 2, bias=False)
    module.weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 4.0]]).to(dtype), requires_grad=False)
    whole = Whole((), [((), Layer(module))])
    whole.merge([(0.5, (), {"diff": torch.tensor([[2.0, 2.0], [1.0, 0.0]])})])
    assert module.weight.float().tolist() == [[2.0, -1.0], [1.0, 4.0]]
    whole.restore()
    assert module.weight.float().tolist() == [[1.0, -2.0], [0.5, 4.0]]


def test_the_base_of_a_module_is_put_together_from_its_layers_in_the_originals_order(split: Whole) -> None:
    weights = {part: of(split, part).base()[0].clone() for part in "qkv"}
    with torch.no_grad():
        split.merge([(1.0, (), lora(10))])
    for parts in ((), ("k",), ("v", "q")):
        found = split.base(parts)
        assert found is not None
        assert torch.equal(found, torch.cat([weights[part] for part in parts or "qkv"]))
    assert split.base(("k", "mlp")) is None


def test_the_base_of_a_part_is_its_rows_of_a_fused_layer() -> None:
    fused = layer(12)
    found = Whole(("q", "k", "v"), [((), fused)]).base(("k",))
    assert found is not None
    assert torch.equal(found, fused.base()[0][4:8])


def test_a_pipeline_without_one_of_the_parts_has_no_place_for_the_whole(split: Whole) -> None:
    split.layers = [(parts, layer) for parts, layer in split.layers if parts != ("k",)]
    assert split.rows() is None
    assert split.rows(("v",)) is not None
