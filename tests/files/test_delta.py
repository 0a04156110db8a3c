"""Changes of modules, worked by hand with numpy; the comparison with other libraries is in test_numbers.py."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("lycoris")

import torch

from lbw.files.delta import delta

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
    wanted = torch.tensor([[-2.0, -3.0], [0.0, 2.0], [-18.0, -21.0], [16.0, 20.0]])
    found = delta({"oft_diag": turn, "rescale": rescale}, weight)
    torch.testing.assert_close(weight + found.weight, wanted)
