"""What the parameters of one module of a LoRA say by their names and shapes: its kind, its rank, what is wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

from lbw.core.errors import FileError
from lbw.core.texts import t

Shapes = Mapping[str, "tuple[int, ...]"]

# For each kind what a module of it needs: of every line one of the alternatives, whole.
_NEEDS: dict[str, tuple[tuple[tuple[str, ...], ...], ...]] = {
    "lora": ((("lora_up.weight",),), (("lora_down.weight",),)),
    "loha": ((("hada_w1_a", "hada_w1_b"),), (("hada_w2_a", "hada_w2_b"),)),
    "lokr": ((("lokr_w1",), ("lokr_w1_a", "lokr_w1_b")), (("lokr_w2",), ("lokr_w2_a", "lokr_w2_b"))),
    "ia3": ((("on_input",),), (("weight",),)),
    "glora": ((("a1.weight", "a2.weight"),), (("b1.weight", "b2.weight"),)),
    "oft": ((("oft_blocks",), ("oft_diag",)),),
    "oftv2": ((("oft_R.weight",),),),
    "norm": ((("w_norm",),),),
    "full": ((("diff",), ("diff_b",)),),
}
_MAY_HAVE: dict[str, tuple[str, ...]] = {
    "lora": ("lora_mid.weight", "lora_up.bias"),
    "loha": ("hada_t1", "hada_t2"),
    "lokr": ("lokr_t2",),
    "oft": ("rescale",),
    "oftv2": ("oft_R.scaled_oft", "oft_R.terms"),
    "norm": ("b_norm",),
}
_ALL_MAY_HAVE = ("alpha", "scale", "dora_scale", "magnitude", "diff_b")
_DECOMPOSED = ("dora_scale", "magnitude")
_NUMBERS = ("alpha", "scale", "on_input", "oft_R.terms")

# The axes that are as long as the rank; of factors beside a core tensor (Tucker) others than without.
_RANK_AXES: dict[str, tuple[int, ...]] = {
    "lora_up.weight": (1,), "lora_down.weight": (0,), "lora_mid.weight": (0, 1),
    "hada_w1_a": (1,), "hada_w1_b": (0,), "hada_w2_a": (1,), "hada_w2_b": (0,), "hada_t1": (0, 1), "hada_t2": (0, 1),
    "lokr_w1_a": (1,), "lokr_w1_b": (0,), "lokr_w2_a": (1,), "lokr_w2_b": (0,), "lokr_t2": (0, 1),
}  # fmt: skip
_BESIDE_CORE: dict[str, dict[str, tuple[int, ...]]] = {
    "hada_t1": {"hada_w1_a": (0,), "hada_w2_a": (0,)},
    "lokr_t2": {"lokr_w2_a": (0,)},
}


def shapes_text(shapes: Shapes) -> str:
    """Return names and shapes as a message has them."""
    return ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())


def change_kind(names: Collection[str]) -> str:
    """Return the kind of the change that a module with parameters of these names makes, DoRA's direction included.

    Raises:
        FileError: the kind is unknown.
    """
    for kind, needs in _NEEDS.items():
        known = {name for line in needs for alternative in line for name in alternative} - {"weight"}
        if not known.isdisjoint(names):
            return kind
    raise FileError(t("a module with the parameters {names} is of an unknown kind", names=", ".join(sorted(names))))


def kind(names: Collection[str]) -> str:
    """Return the kind of a module with parameters of these names ("lora", "loha", …); "dora" if it is decomposed.

    Raises:
        FileError: the kind is unknown.
    """
    return "dora" if any(name in names for name in _DECOMPOSED) else change_kind(names)


def rank(shapes: Shapes) -> int | None:
    """Return the rank of a module's factors; None if nothing in it is factored.

    Raises:
        FileError: its parts have different ranks, or the rank is 0.
    """
    axes = dict(_RANK_AXES)
    for core, others in _BESIDE_CORE.items():
        if core in shapes:
            axes.update(others)
    parts = {name: shapes[name] for name in axes if name in shapes}
    if any(len(shape) < 2 for shape in parts.values()):
        raise FileError(t("the factors of a module must be matrices: {shapes}", shapes=shapes_text(parts)))
    ranks = {shape[axis] for name, shape in parts.items() for axis in axes[name]}
    if len(ranks) > 1:
        raise FileError(t("the parts of a module have different ranks: {shapes}", shapes=shapes_text(parts)))
    if 0 in ranks:
        raise FileError(t("a module has rank 0: {shapes}", shapes=shapes_text(parts)))
    return ranks.pop() if ranks else None


def check(shapes: Shapes) -> None:
    """Check that parameters of these shapes can belong to one module.

    Raises:
        FileError: something is missing or has an impossible shape, or the kind is unknown.
    """
    form = change_kind(shapes)
    for line in _NEEDS[form]:
        if not any(all(name in shapes for name in alternative) for alternative in line):
            wanted = " or ".join(" and ".join(alternative) for alternative in line)
            there = ", ".join(sorted(shapes))
            raise FileError(t("a module has {names}, but lacks {wanted}", names=there, wanted=wanted))
    if ("hada_t1" in shapes) != ("hada_t2" in shapes):
        raise FileError(t("a module has only one of hada_t1 and hada_t2: {shapes}", shapes=shapes_text(shapes)))
    for name in _NUMBERS:
        if prod(shapes.get(name, ())) != 1:
            shape = tuple(shapes[name])
            raise FileError(
                t("{name} of a module must be a single number, but has shape {shape}", name=name, shape=shape)
            )
    rank(shapes)


def unused(names: Collection[str]) -> list[str]:
    """Return those of the parameters' names that nothing is computed from, sorted; of an unknown kind none."""
    try:
        form = change_kind(names)
    except FileError:
        return []
    known = {name for line in _NEEDS[form] for alternative in line for name in alternative}
    return sorted(set(names) - known - {*_MAY_HAVE.get(form, ()), *_ALL_MAY_HAVE})
