"""Pipelines of diffusers: loaded from a folder or a checkpoint, and split into the components that LoRAs change.

Pipelines are recognized by their components and by the parameters of their call; the families themselves are in
`lbw.core.families`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from lbw.core.architectures import FAMILIES
from lbw.core.detect import detect_model
from lbw.core.errors import FileError, HostError
from lbw.core.family import Architecture
from lbw.core.texts import t

_DENOISER = re.compile(r"^(?:unet|(?:\w+_)?transformer(?:_\d)?)$")
_ENCODER = re.compile(r"^(?:text_encoder(?:_\d)?|text_conditioner)$")
_INDEX = ("model_index.json", "modular_model_index.json")


def denoisers(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return the pipeline's denoisers by component name, the one that LoRAs are made for first."""
    found = _components(pipeline, _DENOISER)
    return dict(sorted(found.items(), key=lambda item: (item[0] not in ("unet", "transformer"), item[0])))


def text_encoders(pipeline: Any) -> dict[str, torch.nn.Module]:
    """Return the pipeline's text encoders, and adapters between them and the denoiser, by component name."""
    return _components(pipeline, _ENCODER)


def _components(pipeline: Any, pattern: re.Pattern[str]) -> dict[str, torch.nn.Module]:
    return {
        name: component
        for name, component in pipeline.components.items()
        if pattern.match(name) and isinstance(component, torch.nn.Module)
    }


def pipeline_modules(pipeline: Any) -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield the pipeline's layers that have a weight; names are prefixed with that of the component."""
    for component, model in {**denoisers(pipeline), **text_encoders(pipeline)}.items():
        for name, module in model.named_modules():
            if isinstance(getattr(module, "weight", None), torch.nn.Parameter):
                yield f"{component}.{name}", module


def pipeline_weights(pipeline: Any) -> Iterator[tuple[str, str, torch.nn.Module, str]]:
    """Yield what LoRAs can change: the name of the component, the name of the weight as a file would call its module,
    the module that has it, and the attribute. A bias belongs to its weight; other parameters of a module, such as a
    table of modulations, are yielded under their own names.
    """
    for component, model in {**denoisers(pipeline), **text_encoders(pipeline)}.items():
        prefix = f"{component}." if _ENCODER.match(component) else "transformer."
        for path, module in model.named_modules():
            own = dict(module.named_parameters(recurse=False))
            for attribute, parameter in own.items():
                if parameter.dim() == 0 or (attribute == "bias" and "weight" in own):
                    continue
                name = path if attribute == "weight" else f"{path}.{attribute}".lstrip(".")
                yield component, prefix + name, module, attribute


def pipeline_architecture(pipeline: Any) -> Architecture:
    """Return the pipeline's architecture.

    Raises:
        HostError: it is unknown.
    """
    main = next(iter(denoisers(pipeline)), "")
    shapes = {
        f"{name}.weight" if attribute == "weight" else name: tuple(getattr(module, attribute).shape)
        for component, name, module, attribute in pipeline_weights(pipeline)
        if component == main or _ENCODER.match(component)
    }
    found = detect_model(shapes)
    if found is None:
        raise HostError(t("the blocks of a {pipeline} are unknown", pipeline=type(pipeline).__name__))
    return found


# Loading -----------------------------------------------------------------------------------------


def load_pipeline(path: Path, device: str | None = None, half: bool | None = None, config: Path | None = None) -> Any:
    """Return the diffusers pipeline of a folder or of a single-file checkpoint.

    device: "cpu", "cuda" or "mps"; the best available one if not given. half: half precision, in the dtype that the
    model is published in; the default on a GPU. config: a diffusers folder of the single-file checkpoint's family;
    downloaded by diffusers if not given.

    Raises:
        FileError: there is no model at `path`, it is of an unknown family, or of one that the installed diffusers has
            no pipeline for.
    """
    _quiet()
    device = device or ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
    half = device != "cpu" if half is None else half
    try:
        if path.is_dir():
            pipeline = _folder(path, half)
        elif path.is_file():
            pipeline = _single_file(path, half, config)
        else:
            raise FileError(t("there is no model at {path}", path=path))
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        message = t("{path} cannot be loaded as a model: {reason}", path=path, reason=_reason(error))
        if path.is_file() and not config:
            advised = t(
                "{message}; without a network connection, pass its configuration with --config", message=message
            )
            raise FileError(advised) from error
        raise FileError(message) from error
    pipeline.set_progress_bar_config(disable=True)
    if getattr(pipeline, "safety_checker", None) is not None:
        pipeline.safety_checker = None
    return pipeline.to(device)


def _reason(error: BaseException) -> str:
    """Return the first line of an error's text; for a failed import of diffusers, that of its cause."""
    error = error.__cause__ or error
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def installed() -> str:
    """Return the libraries that pipelines use, with their versions."""
    import diffusers
    import transformers

    return t(
        "diffusers {diffusers} and transformers {transformers}",
        diffusers=diffusers.__version__,
        transformers=transformers.__version__,
    )


def _quiet() -> None:
    """Hide the libraries' own progress bars and hints from the terminal; errors still get through."""
    import os
    import warnings

    for name in ("DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _dtype(half: bool, is_unet: bool) -> torch.dtype:
    """Return the precision: transformers and their large text encoders overflow in float16."""
    if not half:
        return torch.float32
    return torch.float16 if is_unet else torch.bfloat16


def _folder(path: Path, half: bool) -> Any:
    import diffusers

    index = next((path / name for name in _INDEX if (path / name).is_file()), None)
    if index is None:
        raise FileError(t("{path} is not a model folder: it has no model_index.json", path=path))
    dtype = _dtype(half, "unet" in json.loads(index.read_text(encoding="utf-8")))
    if index.name != _INDEX[0]:
        pipeline = diffusers.ModularPipeline.from_pretrained(path, local_files_only=True)
        pipeline.load_components(torch_dtype=dtype, local_files_only=True, use_safetensors=True)
        return pipeline
    return diffusers.DiffusionPipeline.from_pretrained(
        path, torch_dtype=dtype, local_files_only=True, use_safetensors=True
    )


def _single_file(path: Path, half: bool, config: Path | None) -> Any:
    from lbw.files.header import read_header

    architecture = detect_model(read_header(path).shapes)
    if architecture is None or architecture.family.is_guess:
        known = ", ".join(family.title for family in FAMILIES)
        raise FileError(
            t("{path} is a checkpoint of an unknown model family; the known ones are {models}", path=path, models=known)
        )
    pipeline_class = _class_of(path, architecture)
    if config is not None and not (config / "model_index.json").is_file():
        raise FileError(t("{path} is not a configuration folder: it has no model_index.json", path=config))
    local = {"config": str(config), "local_files_only": True} if config is not None else {}
    dtype = _dtype(half, architecture.kind == "unet")
    return pipeline_class.from_single_file(str(path), torch_dtype=dtype, **local)


def _class_of(path: Path, architecture: Architecture) -> Any:
    """Return the class of diffusers that runs the checkpoint at `path`.

    Raises:
        FileError: the installed diffusers has none, or none that reads a checkpoint.
    """
    import diffusers

    name = architecture.family.pipeline[0]
    told = {"path": path, "model": architecture.title, "pipeline": name}
    try:
        found = getattr(diffusers, name, None)
    except RuntimeError as error:
        cannot_run = t(
            "{path} is a {model} checkpoint; {libraries} cannot run its {pipeline}: {reason}",
            libraries=installed(),
            reason=_reason(error),
            **told,
        )
        raise FileError(cannot_run) from error
    if found is None:
        raise FileError(
            t("{path} is a {model} checkpoint, but {libraries} has no {pipeline} for it", libraries=installed(), **told)
        )
    if not hasattr(found, "from_single_file"):
        only_folder = t(
            "{path} is a {model} checkpoint; diffusers can load a {pipeline} from a folder only: "
            "pass the folder with its parts",
            **told,
        )
        raise FileError(only_folder)
    return found
