"""The requests and responses of the routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, create_model

from lbw.analysis.request import AnalysisRequest, PictureRequest
from lbw.core import limits

Seed = Annotated[int, Field(ge=-1, le=limits.SEED)]


class PresetText(BaseModel):
    """A preset file as edited, and the version that was read before."""

    text: str
    version: str


class Presets(BaseModel):
    """A preset file: its text, what its presets are, and a version that changes with the file."""

    text: str
    version: str
    names: list[str]
    presets: dict[str, str]


class Conflict(BaseModel):
    """The file on disk, which has changed since the version that was sent, and the text that was sent."""

    detail: str
    text: str
    version: str
    yours: str


class TagText(BaseModel):
    """A tag, and the image's seed for `R` and `U`."""

    tag: str
    seed: Seed = 0


class Explained(BaseModel):
    """What a tag means for its LoRA file: each block's weight, and how many modules the file has there."""

    lora: str
    architecture: str
    title: str
    layout: int | None
    te: float
    unet: float
    start: int | str | None
    stop: int | str | None
    blocks: dict[str, float]
    modules: dict[str, int]
    problems: list[str]


class MissingLora(BaseModel):
    """A LoRA that was not found, and what is wrong with the block weights of its tag for every model."""

    detail: str
    problems: list[str]


class LoraEntry(BaseModel):
    """One LoRA of the list; `pending` if its file has not been read yet."""

    name: str
    architecture: str | None
    layouts: list[int]
    blocks: list[str]
    pending: bool = False


class Lora(BaseModel):
    """The contents of a LoRA file, and how its blocks can be weighted.

    shape: how the blocks are arranged when they are drawn, as `lbw.core.shape` gives it: parts of columns of blocks.
    """

    name: str
    architecture: str
    title: str
    kinds: list[str]
    blocks: list[str]
    touched: list[str]
    shape: list[list[list[str]]]
    layouts: dict[str, list[str]]
    unlisted: dict[str, float]
    presets: list[str]


class MapBlock(BaseModel):
    """One block: what it is, its path in the original checkpoint, and how much of a LoRA is in it, also in percent."""

    id: str
    what: str
    path: str
    tensors: int | None = None
    parameters: int | None = None
    share: float | None = None


class BlockMapForm(BaseModel):
    """The blocks of a model in layout order, its layouts and groups."""

    architecture: str
    title: str
    blocks: list[MapBlock]
    layouts: dict[str, list[str]]
    groups: dict[str, list[str]]
    warnings: list[str]


def _model(kind: type[PictureRequest], name: str, meaning: str) -> type[BaseModel]:
    """Return the model of a request, with the types, defaults, bounds and meanings of its options."""
    types = {"int": int, "float": float, "bool": bool, "str": str, "float | None": float | None}
    types["tuple[str, ...]"] = list[str]
    made: dict[str, Any] = {}
    for option in kind.options().values():
        of: Any = Literal[option.allowed] if option.allowed else types[option.type]  # type: ignore[valid-type]
        bounds = {"ge": option.low, "le": option.high} if option.low is not None else {}
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        made[option.name] = (
            of,
            Field(
                ... if option.name == "prompt" else default, description=f"{option.label}: {option.meaning}", **bounds
            ),
        )
    form: type[BaseModel] = create_model(name, **made)
    form.__doc__ = meaning  # pydantic 1, which AUTOMATIC1111 has, takes it in no other way
    return form


AnalysisForm: Any = _model(
    AnalysisRequest, "Analysis", "What to analyze: a prompt with `lbw=XYZ` in the tag of one LoRA."
)


class AnalysisState(BaseModel):
    """The state of an analysis: `waiting`, `running`, `done`, `stopped` or `failed`; finished pictures, and all
    pictures.

    error: what failed. messages: all messages. files: the files written, on the server's disk.
    """

    id: str
    state: str
    done: int
    total: int
    seconds_left: float | None = None
    error: str = ""
    messages: list[str] = []
    files: list[str] = []


class EarlierAnalysis(BaseModel):
    """One analysis of the list; its id gives access to its result."""

    id: str
    lora: str
    prompt: str
    state: str
