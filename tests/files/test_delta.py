"""Changes of modules, worked by hand with numpy; the comparison with other libraries is in test_numbers.py."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")

import torch

from lbw.files.delta import change_without_base, delta, factors, output_rows

RANK, ALPHA = 4, 2.0


@pytest.mark.parametrize("first", ["whole", "factored"])
def test_lokr_with_a_core_is_scaled_by_its_rank_and_by_no_other_axis(first: str) -> None:
    # As LyCORIS makes it for 320 channels and factor 8: W is (8 ⊗ 40) × (8 ⊗ 40) × 3 × 3.
    generator = np.random.default_rng(1)
    core, up, down = (generator.normal(size=s) for s in ((RANK, RANK, 3, 3), (RANK, 40), (RANK, 40)))
    left, right = generator.normal(size=(8, RANK)), generator.normal(size=(RANK, 8))
    w1 = left @ right
    w2 = np.einsum("pqxy,po,qi->oixy", core, up, down)
    wanted = np.einsum("ac,bdxy->abcdxy", w1, w2).reshape(320, 320, 3, 3) * ALPHA / RANK
    names = {"lokr_w1": w1} if first == "whole" else {"lokr_w1_a": left, "lokr_w1_b": right}
    parts = {**names, "lokr_t2": core, "lokr_w2_a": up, "lokr_w2_b": down, "alpha": np.float64(ALPHA)}
    found = delta({name: torch.tensor(part) for name, part in parts.items()}, torch.zeros(320, 320, 3, 3))
    np.testing.assert_allclose(found.weight.numpy(), wanted, rtol=1e-4, atol=1e-4)


def test_old_oft_is_rescaled_as_the_new_one_is() -> None:
    weight = torch.arange(8.0).reshape(4, 2)
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).expand(2, 2, 2).contiguous()
    rescale = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    # Rows of a block change places, one with its sign turned; then each row has its factor.
    turned = torch.tensor([[-2.0, -3.0], [0.0, 1.0], [-6.0, -7.0], [4.0, 5.0]])
    torch.testing.assert_close(weight + delta({"oft_diag": turn}, weight).weight, turned)
    found = delta({"oft_diag": turn, "rescale": rescale}, weight)
    torch.testing.assert_close(weight + found.weight, rescale * turned)


@pytest.mark.parametrize("shape", [(6, 8), (6, 2, 2, 2)])
@pytest.mark.parametrize("blocks", [2, 1])
@pytest.mark.parametrize("is_scaled", [False, True])
def test_oft_of_the_input_turns_blocks_of_columns_by_cayley_s_formula(
    shape: tuple[int, ...], blocks: int, is_scaled: bool
) -> None:
    # As OneTrainer has it: of small angles, its series is the formula (I + Q)(I − Q)⁻¹ but for the fourth power.
    generator = np.random.default_rng(3)
    entries, weight = generator.normal(size=(blocks, 6)) * 0.005, generator.normal(size=shape)
    wanted = weight.reshape(6, 2, 4).copy()
    for number in range(2):
        q = np.zeros((4, 4))
        q[np.triu_indices(4, 1)] = entries[number % blocks]
        q -= q.T
        rotation = (np.eye(4) + q) @ np.linalg.inv(np.eye(4) - q)
        wanted[:, number] = wanted[:, number] @ (rotation.T if len(shape) == 2 else rotation)
    stored = entries * (2 * np.sqrt(3) if is_scaled else 1)
    parameters = {"oft_R.weight": torch.tensor(stored)} | (
        {"oft_R.scaled_oft": torch.tensor(True)} if is_scaled else {}
    )
    found = delta(parameters, torch.tensor(weight))
    np.testing.assert_allclose(found.weight.numpy() + weight, wanted.reshape(shape), atol=2e-6)


@pytest.mark.parametrize("size", [2, 3, 4, 9, 32])
def test_oft_of_peft_has_blocks_as_large_as_its_triangles_and_turns_by_cayley_s_formula(size: int) -> None:
    generator = np.random.default_rng(4)
    entries = generator.normal(size=(2, size * (size - 1) // 2)) * 0.1
    weight = generator.normal(size=(5, 2 * size))
    wanted = weight.copy()
    for number in range(2):
        q = np.zeros((size, size))
        q[np.triu_indices(size, 1)] = entries[number]
        q -= q.T
        columns = slice(number * size, (number + 1) * size)
        wanted[:, columns] = weight[:, columns] @ ((np.eye(size) - q) @ np.linalg.inv(np.eye(size) + q)).T
    parameters = {"oft_R.weight": torch.tensor(entries), "oft_R.terms": torch.tensor(0)}
    found = delta(parameters, torch.tensor(weight))
    np.testing.assert_allclose(found.weight.numpy() + weight, wanted, atol=1e-5)


def test_oft_of_the_input_halves_the_last_term_of_its_series() -> None:
    # Of one angle a, (I + aJ)(I − aJ)⁻¹ turns; the series I + 2aJ + 2a²J² + 2a³J³ + a⁴J⁴ with J² = −I is by hand:
    angle = 0.5
    cosine, sine = 1 - 2 * angle**2 + angle**4, 2 * angle - 2 * angle**3
    found = delta({"oft_R.weight": torch.tensor([[angle]])}, torch.eye(2))
    turned = torch.tensor([[cosine, sine], [-sine, cosine]]).T
    torch.testing.assert_close(found.weight + torch.eye(2), turned)


@pytest.mark.parametrize("spelling", ["lora_magnitude_vector", "lora_magnitude_vector.weight", "magnitude"])
def test_magnitudes_of_peft_and_ai_toolkit_are_of_the_outputs_even_of_square_layers(spelling: str) -> None:
    from lbw.files.lora import parameter_name

    generator = np.random.default_rng(5)
    up, down, weight = (generator.normal(size=s) for s in ((6, 2), (2, 6), (6, 6)))
    magnitude = generator.random(6) + 0.5
    merged = weight + up @ down
    wanted = magnitude[:, None] * merged / np.linalg.norm(merged, axis=1, keepdims=True)
    name = parameter_name(f"layer.{spelling}", "layer")
    parts = {"lora_up.weight": up, "lora_down.weight": down, name: magnitude}
    found = delta({name: torch.tensor(part) for name, part in parts.items()}, torch.tensor(weight))
    np.testing.assert_allclose(found.weight.numpy() + weight, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("lora_A.weight", "lora_down.weight"), ("lora_B.weight", "lora_up.weight"), ("lora_A", "lora_down.weight"),
        ("lora_B", "lora_up.weight"), ("lora_A.default.weight", "lora_down.weight"), ("lora_B.bias", "lora_up.bias"),
        ("lora_B.default.bias", "lora_up.bias"), ("lora.down.weight", "lora_down.weight"),
        ("lora_linear_layer.up.weight", "lora_up.weight"), ("down.weight", "lora_down.weight"),
        ("lora_magnitude_vector.default.weight", "magnitude"), ("oft_R.default.weight", "oft_R.weight"),
        ("oft_R.weight", "oft_R.weight"), ("dora_scale", "dora_scale"), ("alpha", "alpha"),
    ],
)  # fmt: skip
def test_spellings_of_other_trainers_are_read_as_kohya_s(key: str, name: str) -> None:
    from lbw.files.lora import parameter_name

    assert parameter_name(f"a.layer.{key}", "a.layer") == name


def test_magnitudes_of_a_convolution_may_stand_in_a_matrix() -> None:
    generator = torch.Generator().manual_seed(2)
    up, down = torch.randn(6, 2, 1, 1, generator=generator), torch.randn(2, 6, 1, 1, generator=generator)
    weight, magnitude = torch.randn(6, 6, 1, 1, generator=generator), torch.rand(6, 1, generator=generator)
    factors = {"lora_up.weight": up, "lora_down.weight": down}
    found = delta(factors | {"dora_scale": magnitude}, weight)
    wanted = delta(factors | {"dora_scale": magnitude.reshape(6, 1, 1, 1)}, weight)
    torch.testing.assert_close(found.weight, wanted.weight)


@pytest.mark.parametrize(("alpha", "scale"), [(ALPHA, ALPHA / RANK), (None, 1)])
@pytest.mark.parametrize("is_first_form", [True, False])
def test_glora_adds_to_the_weight_a_product_and_the_weight_times_a_product(
    is_first_form: bool, alpha: float | None, scale: float
) -> None:
    # ΔW = W·A + B (arXiv 2306.07967); LyCORIS' first form has the halves of A and B the other way round.
    generator = np.random.default_rng(8)
    weight, a_up, a_down = (generator.normal(size=shape) for shape in ((6, 10), (10, RANK), (RANK, 10)))
    b_up, b_down = generator.normal(size=(6, RANK)), generator.normal(size=(RANK, 10))
    parts = {"a1": a_up, "a2": a_down, "b1": b_up, "b2": b_down}
    if is_first_form:
        parts = {"a1": a_down, "a2": a_up, "b1": b_down, "b2": b_up}
    parameters = {f"{name}.weight": torch.tensor(part) for name, part in parts.items()}
    if alpha is not None:
        parameters["alpha"] = torch.tensor(alpha)
    found = delta(parameters, torch.tensor(weight))
    wanted = (weight @ a_up @ a_down + b_up @ b_down) * scale
    np.testing.assert_allclose(found.weight.numpy(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("alpha", "scale"), [(ALPHA, ALPHA / RANK), (None, 1)])
@pytest.mark.parametrize("axes", [(), (3, 3)])
def test_the_factors_of_a_product_are_its_change(axes: tuple[int, ...], alpha: float | None, scale: float) -> None:
    generator = np.random.default_rng(9)
    up, down = generator.normal(size=(6, RANK, *[1] * len(axes))), generator.normal(size=(RANK, 5, *axes))
    parts = {"lora_up.weight": torch.tensor(up), "lora_down.weight": torch.tensor(down)}
    found = factors(parts if alpha is None else parts | {"alpha": torch.tensor(alpha)})
    assert found is not None
    product = (found[0] @ found[1]).numpy()
    np.testing.assert_allclose(product, scale * up.reshape(6, RANK) @ down.reshape(RANK, -1), rtol=1e-4, atol=1e-5)


LORA = {"lora_up.weight": torch.ones(6, 2), "lora_down.weight": torch.ones(2, 5)}
CORE = {"lora_up.weight": torch.ones(6, 2, 1, 1), "lora_down.weight": torch.ones(2, 5, 1, 1),
        "lora_mid.weight": torch.ones(2, 2, 3, 3)}  # fmt: skip


@pytest.mark.parametrize("others", [CORE, LORA | {"dora_scale": torch.ones(6, 1)}, {"diff": torch.ones(6, 5)}])
def test_a_change_that_is_no_product_of_two_factors_has_none(others: dict[str, torch.Tensor]) -> None:
    assert factors(others) is None


@pytest.mark.parametrize(
    ("parameters", "rows"),
    [
        (LORA, 6),
        (CORE, 6),
        (LORA | {"dora_scale": torch.ones(1, 5)}, 6),
        ({"diff": torch.ones(7, 5), "magnitude": torch.ones(7)}, 7),
        ({"diff": torch.ones(7, 5), "dora_scale": torch.ones(7, 1)}, 7),
        ({"lokr_w1": torch.ones(2, 4), "lokr_w2": torch.ones(3, 5)}, 6),
        ({"diff_b": torch.ones(8)}, 8),
        ({"oft_blocks": torch.zeros(2, 3, 3)}, None),
    ],
)
def test_the_height_of_a_layer_follows_from_a_change_that_is_not_made_of_its_weight(
    parameters: dict[str, torch.Tensor], rows: int | None
) -> None:
    assert output_rows(parameters) == rows


def test_the_change_of_a_norm_is_a_single_row() -> None:
    found = change_without_base({"w_norm": torch.arange(4.0), "b_norm": torch.ones(4)})
    assert found is not None
    assert found.tolist() == [[0.0, 1.0, 2.0, 3.0]]
