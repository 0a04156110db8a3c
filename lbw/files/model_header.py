"""The tensors of a model, from the headers of its files: a checkpoint, or a folder of diffusers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lbw.core.errors import FileError
from lbw.core.texts import t

from .header import read_header

_DENOISERS = ("transformer", "unet", "text_conditioner")
_ENCODER = re.compile(r"^text_encoder(?:_\d)?$")
_VARIANT = re.compile(r"\.(?:fp16|bf16|fp32|non_ema|ema)(?=[.-]|$)")

# What a checkpoint holds beside the denoiser and the text encoders: the VAE, averages, constants of the noise schedule.
_OTHERS = re.compile(
    r"^(?:first_stage_model|vae|model_ema|control_model)\.|"
    r"^(?:alphas_|betas$|log_one_minus|sqrt_|posterior_|denoiser\.sigmas|logvar|scale_factor|scaled_fp8)"
)


@dataclass(frozen=True)
class ModelHeader:
    """Shapes of a model's tensors, by name: of its denoiser and text encoders, and of what else the files hold."""

    shapes: Mapping[str, tuple[int, ...]]
    others: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def read_model(path: str | Path) -> ModelHeader:
    """Return the tensors of the model at `path`; only headers are read.

    Raises:
        FileError: there is none, a file is no safetensors file, or the folder holds no denoiser.
    """
    path = Path(path)
    if not path.is_dir():
        shapes = read_header(path).shapes
        others = {name: shape for name, shape in shapes.items() if _OTHERS.search(name)}
        return ModelHeader({name: shape for name, shape in shapes.items() if name not in others}, others)
    shapes, others = {}, {}
    for part in sorted(entry for entry in path.iterdir() if entry.is_dir()):
        found = {name: shape for file in _files(part) for name, shape in read_header(file).shapes.items()}
        if part.name in _DENOISERS:
            # Names of the denoiser stand alone in LoRA files of diffusers' naming, too.
            prefix = "" if part.name != "text_conditioner" else "text_conditioner."
            shapes |= {prefix + name: shape for name, shape in found.items()}
        elif _ENCODER.match(part.name):
            shapes |= {f"{part.name}.{name}": shape for name, shape in found.items()}
        else:
            others |= {f"{part.name}.{name}": shape for name, shape in found.items()}
    if not any(_files(path / name) for name in _DENOISERS[:2]):
        raise FileError(
            t(
                "{path} is not a diffusers model: there is no safetensors file in its transformer or unet folder",
                path=path,
            )
        )
    return ModelHeader(shapes, others)


def _files(part: Path) -> list[Path]:
    """Return the files that a part of a diffusers folder is in: of several variants of it, one."""
    if not part.is_dir():
        return []
    indexes = sorted(part.glob("*.safetensors.index*.json"), key=lambda file: (bool(_VARIANT.search(file.name)), file))
    plain = sorted(part.glob("*.safetensors"), key=lambda file: (bool(_VARIANT.search(file.name)), file))
    if indexes and not (plain and not _VARIANT.search(plain[0].name) and "-of-" not in plain[0].name):
        try:
            names = set(json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileError(t("{path} is not an index of safetensors files", path=indexes[0])) from error
        return [part / Path(str(name)).name for name in sorted(names)]
    single = [file for file in plain if "-of-" not in file.name]
    return single[:1] or plain
