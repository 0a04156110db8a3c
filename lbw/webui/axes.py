"""Our axes in the WebUI's own X/Y/Z plot: `[LBW] preset`, `weights`, `block`, `value`, `start`, `stop`.

A value is for the prompt's first LoRA or, in the form `NAME:VALUE`, for the LoRA with this name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lbw.analysis.cells import CHANGED
from lbw.analysis.ranges import expand, split
from lbw.analysis.xyz import entries_of
from lbw.core.architectures import USUAL
from lbw.core.entries import parse_entry
from lbw.core.errors import LbwError, TagError, WeightsError, quote
from lbw.core.preset_names import check_exists, is_preset
from lbw.core.presets import merged
from lbw.core.selectors import select
from lbw.core.steps import Span, parse_step
from lbw.core.tag import LoraRequest, change_tag
from lbw.core.texts import t
from lbw.core.weights import parse_block_weights

from .hook import Hook

PREFIX = "[LBW] "
_STATE = "lbw_axes"


@dataclass(frozen=True)
class Chosen:
    """What the axes have set so far for one LoRA of a cell; None if no axis sets it."""

    weights: str | None = None
    block: str | None = None
    value: str | None = None
    start: str | None = None
    stop: str | None = None


def split_name(text: str) -> tuple[str | None, str]:
    """Return the LoRA's name, None for the first, and the value, of `NAME:VALUE` or `VALUE`."""
    name, colon, value = text.rpartition(":")
    return (name.strip() or None, value.strip()) if colon else (None, text.strip())


class Axes:
    """The axes, and the module of the plot that they are added to."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self._options: list[Any] = []
        self._plot: Any = None

    def install(self, scripts_data: Any) -> None:
        """Append the axes to those of the plot; do nothing if there is no plot, or if they are already there."""
        module = next(
            (data.module for data in scripts_data if str(getattr(data, "path", "")).endswith("xyz_grid.py")), None
        )
        if module is None or self._plot is module:
            return
        self.uninstall()
        module.axis_options[:] = [option for option in module.axis_options if not option.label.startswith(PREFIX)]
        self._options = [self._axis(module, *axis) for axis in self._table()]
        module.axis_options += self._options
        self._plot = module

    def uninstall(self) -> None:
        """Remove the axes."""
        if self._plot is not None:
            mine = {id(option) for option in self._options}
            self._plot.axis_options[:] = [option for option in self._plot.axis_options if id(option) not in mine]
        self._plot, self._options = None, []

    def _table(self) -> list[tuple[str, str, Callable[[str], None], Callable[[], list[str]] | None]]:
        """Label, field of `Chosen`, check of a value, and choices of each axis."""
        return [
            ("preset", "weights", self._check_preset, lambda: list(self._presets())),
            ("weights", "weights", self._check_weights, None),
            ("block", "block", self._check_block, self._blocks),
            ("value", "value", _check_value, None),
            ("start", "start", lambda value: _check_step("start", value), None),
            ("stop", "stop", lambda value: _check_step("stop", value), None),
        ]

    def _axis(
        self,
        module: Any,
        label: str,
        field: str,
        check: Callable[[str], None],
        choices: Callable[[], list[str]] | None,
    ) -> Any:
        def apply(p: Any, text: str, _: Any) -> None:
            name, value = split_name(text)
            self._put(p, name, field, value)

        def confirm(p: Any, texts: list[str]) -> None:
            for text in texts:
                name, value = split_name(text)
                try:
                    check(value)
                    if self._put_into(p, name, lambda request: request) is None:
                        raise TagError(_no_lora(name))
                except LbwError as error:
                    raise RuntimeError(f"{PREFIX}{label}: {error}") from error

        numeric = field in ("value", "start", "stop")
        more = {"prepare": _numbers} if numeric and _takes(module.AxisOption, "prepare") else {}
        return module.AxisOption(PREFIX + label, str, apply, confirm=confirm, choices=choices, **more)

    # Applying -------------------------------------------------------------------------------------

    def _put(self, p: Any, name: str | None, field: str, value: str) -> None:
        """Set `field` to `value` for one LoRA of the cell `p`, which is a separate copy."""
        states: dict[str | None, tuple[LoraRequest | None, Chosen]] = dict(p.__dict__.get(_STATE, {}))
        first, chosen = states.get(name, (None, Chosen()))
        chosen = replace(chosen, **{field: value})
        kept: list[LoraRequest] = []

        def change(request: LoraRequest) -> LoraRequest:
            kept.append(first or request)
            return self._changed(request, first or request, chosen, int(p.seed or 0))

        prompt = self._put_into(p, name, change)
        if prompt is None:
            raise RuntimeError(f"{PREFIX}{field}: {_no_lora(name)}")
        p.prompt = prompt
        states[name] = (kept[0], chosen)
        p.__dict__[_STATE] = states

    def _put_into(self, p: Any, name: str | None, change: Callable[[LoraRequest], LoraRequest]) -> str | None:
        prompt = p.prompt[0] if isinstance(p.prompt, list) else p.prompt
        return change_tag(str(prompt), name, self._presets(), change)

    def _changed(self, request: LoraRequest, before: LoraRequest, chosen: Chosen, seed: int) -> LoraRequest:
        """Return `request` with the values of the axes.

        before: the tag in the prompt; block and value are applied to its block weights, or to those of an axis.
        """
        weights = chosen.weights if chosen.weights is not None else before.weights
        if chosen.block is not None or chosen.value is not None:
            architecture, presets = self.hook.architecture(), self._presets()
            base = "1" if weights is None or (weights == CHANGED and not is_preset(CHANGED, presets)) else weights
            cell = entries_of(base, architecture, presets, seed)
            blocks = select(chosen.block, architecture) if chosen.block else architecture.blocks
            weights = cell.with_entry(blocks, chosen.value or "0").weights
        start = parse_step("start", chosen.start) if chosen.start is not None else request.span.start
        stop = parse_step("stop", chosen.stop) if chosen.stop is not None else request.span.stop
        return replace(request, weights=weights, span=Span(start, stop))

    # Checking -------------------------------------------------------------------------------------

    def _presets(self) -> Mapping[str, str]:
        return merged(self.hook.store.presets(), {})

    def _blocks(self) -> list[str]:
        """Return the blocks of the loaded model; never loads a model only to fill a list."""
        architecture = self.hook.host.architecture() if self.hook.host is not None else None
        return list((architecture or USUAL).blocks)

    def _check_preset(self, value: str) -> None:
        presets = self._presets()
        check_exists(value, presets)
        self._check_weights(value)

    def _check_weights(self, value: str) -> None:
        parse_block_weights(value).resolve(self.hook.architecture(), self._presets())

    def _check_block(self, value: str) -> None:
        select(value, self.hook.architecture())


def _takes(option: Any, argument: str) -> bool:
    return argument in option.__init__.__code__.co_varnames


def _no_lora(name: str | None) -> str:
    return t("no LoRA {name} in the prompt", name=quote(name)) if name else t("no LoRA in the prompt")


def _numbers(text: str) -> list[str]:
    """Return the values of a numeric axis, with ranges expanded, also after a LoRA's name."""
    values: list[str] = []
    for part in split(text):
        name, value = split_name(part)
        values += [f"{name}:{number}" if name else number for number in expand(value) or [value]]
    return values


def _check_value(value: str) -> None:
    if not parse_entry(value).is_valid:
        raise WeightsError(
            t("{text} is not a number; write for example 0,0.5,1 or 0-1 (+0.25) or 0-1 [5]", text=quote(value))
        )


def _check_step(key: str, value: str) -> None:
    parse_step(key, value)


def plot_scripts() -> Any:
    """Return the WebUI's list of script files."""
    return getattr(sys.modules.get("modules.scripts"), "scripts_data", ())
