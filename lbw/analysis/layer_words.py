"""The part of ai-toolkit's configuration that trains only the chosen blocks; see `lbw.core.trainers.AiToolkit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lbw.core.errors import WeightsError
from lbw.core.family import Architecture
from lbw.core.numbers import format_number
from lbw.core.texts import t
from lbw.core.trainers import AiToolkit

from .training import Training, chosen, outside_paths, stack_of, unet_paths


def layer_words(
    weights: Mapping[str, float], architecture: Architecture, trainer: AiToolkit, training: Training
) -> str:
    """Return the sections `network` and `train`, as YAML, with which ai-toolkit trains the blocks above 0, all in full.

    By default it leaves out everything outside of the main stacks (`transformer_only`), and it only reads an alpha for
    U-Nets.

    Raises:
        WeightsError: nothing is left to train.
    """
    has_encoder = weights.get(trainer.encoder, 0.0) > 0
    by_block = {block: _words(block, architecture, trainer, training) for block in chosen(weights)}
    words = list(dict.fromkeys(word for words in by_block.values() for word in words))
    if not words and not has_encoder:
        raise WeightsError(
            t("nothing to train: no block above 0 has attention; choose another block, or train convolutions too")
        )
    lines = ["network:", "  type: lora", f"  linear: {training.rank}"]
    if trainer.unet:
        lines.append(f"  linear_alpha: {format_number(training.alpha)}")
        if training.has_convolutions:
            lines += [f"  conv: {training.rank}", f"  conv_alpha: {format_number(training.alpha)}"]
    elif not {block for block, words in by_block.items() if words} <= set(architecture.numbered_blocks):
        lines.append("  transformer_only: false")
    lines += ["  network_kwargs:", "    only_if_contains:"]
    lines += [f'      - "{word}"' for word in (*words, *(["lora_te"] if has_encoder else ()))]
    lines += ["train:", f"  lr: {format_number(training.rate)}"]
    if trainer.encoder:
        lines += [f"  train_unet: {str(bool(words)).lower()}", f"  train_text_encoder: {str(has_encoder).lower()}"]
    return "\n".join(lines) + "\n"


def _words(block: str, architecture: Architecture, trainer: AiToolkit, training: Training) -> list[str]:
    """Return the beginnings of the names of the modules in `block`."""
    family = architecture.family
    if trainer.unet:
        paths: Iterable[str] = unet_paths(block, trainer.unet, training.has_convolutions)
    elif numbered := stack_of(block, family):
        stack, number = numbered
        paths = [f"{trainer.stacks.get(stack.path, stack.path)}.{number}."]
    else:
        paths = outside_paths(block, family, trainer.is_renamed)
    return [root + path for path in paths for root in trainer.roots]
