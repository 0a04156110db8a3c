"""A LyCORIS preset that trains only the chosen blocks; see `lbw.core.trainers.LyCORIS`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.texts import t
from lbw.core.trainers import LyCORIS

from .training import Training, outside_paths, stack_of, unet_paths


def lycoris_preset(
    weights: Mapping[str, float], architecture: Architecture, trainer: LyCORIS, training: Training
) -> str:
    """Return a LyCORIS preset, as TOML, that trains only the blocks above 0.

    A block that is not at 1 gets a proportional rank. In text encoders the layers that `trainer` names are trained; the
    time embeddings of U-Nets are left out, as in LyCORIS' own presets for SDXL.

    Raises:
        WeightsError: nothing is left to train.
    """
    names: dict[str, float] = {}
    layers: dict[str, float] = {}
    for block in architecture.blocks:
        weight = weights.get(block, 0.0)
        if weight > 0:
            names |= dict.fromkeys(_names(block, architecture, trainer, training), weight)
            layers |= {layer: max(weight, layers.get(layer, 0.0)) for layer in trainer.encoders.get(block, ())}
    if not names and not layers:
        raise WeightsError(
            t("nothing to train: no block above 0 has attention; choose another block, or train convolutions too")
        )
    alpha = format_number(training.alpha)
    lines = [
        f"# --network_module lycoris.kohya --network_dim {training.rank} --network_alpha {alpha}"
        ' --network_args "algo=lora" "preset=THIS_FILE.toml"',
        f"enable_conv = {str(training.has_convolutions).lower()}",
        "use_fnmatch = true",
        "unet_target_module = []",
        _array("unet_target_name", names),
        _array("text_encoder_target_module", layers),
        "text_encoder_target_name = []",
    ]
    shares = {f'name_algo_map."{name}"': weight for name, weight in names.items()}
    shares |= {f"module_algo_map.{layer}": weight for layer, weight in layers.items()}
    for table, weight in shares.items():
        if training.rank_of(weight) != training.rank:
            dim, alpha = training.rank_of(weight), format_number(training.alpha_of(weight))
            lines.append(f"\n[{table}]\ndim = {dim}\nalpha = {alpha}")
    return "\n".join(lines) + "\n"


def _names(block: str, architecture: Architecture, trainer: LyCORIS, training: Training) -> Iterable[str]:
    """Return the names of the denoiser's modules in `block`, as glob patterns."""
    family = architecture.family
    if trainer.unet:
        paths = unet_paths(block, trainer.unet, training.has_convolutions)
        return [f"{path}*" if path.endswith(".") else path for path in paths]
    if numbered := stack_of(block, family):
        stack, number = numbered
        return [f"{stack.path}.{number}.*"]
    if family.adapter and block == family.encoders["adapter"]:
        return [f"{family.adapter}.*"]
    return [name for path in outside_paths(block, family) for name in (path, f"{path}.*")]


def _array(name: str, entries: Iterable[str]) -> str:
    rows = "".join(f'  "{entry}",\n' for entry in entries)
    return f"{name} = [\n{rows}]" if rows else f"{name} = []"
