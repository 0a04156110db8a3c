"""Options: the WebUI's settings, and the arguments of the script in each request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lbw.core.elements import parse_elements
from lbw.core.presets import parse_presets
from lbw.core.texts import t

ON_INVALID = "lbw_on_invalid"
WITH_PREDECESSOR = "lbw_with_predecessor"
PANEL = "lbw_panel"  # read by javascript/lbw_panel.js
WARN, STOP = t("warn"), t("stop")
THIS, OTHER = t("this extension"), t("the other extension")

# The arguments of our predecessor, in its order, with their defaults.
ARGUMENTS: tuple[tuple[str, Any], ...] = (
    ("presets", ""),
    ("enabled", True),
    ("xyz_mode", ""),
    ("x_type", ""),
    ("x_values", ""),
    ("y_type", ""),
    ("y_values", ""),
    ("z_type", ""),
    ("z_values", ""),
    ("range", ""),
    ("blocks", ""),
    ("seeds", ""),
    ("diff_color", ""),
    ("threshold", ""),
    ("swap_axes", ""),
    ("elements", ""),
    ("print_change", ""),
    ("debug", ""),
    # Ours: the analyzer's region, a rectangle in percent.
    ("region", ""),
)
REGION = [name for name, _ in ARGUMENTS].index("region")


@dataclass(frozen=True)
class RequestOptions:
    """The options of one request: whether block weights are on, and presets for this request only."""

    enabled: bool = True
    presets: Mapping[str, str] = field(default_factory=dict)
    elements: Mapping[str, str] = field(default_factory=dict)

    def with_cell(self, cell: RequestOptions) -> RequestOptions:
        """Return these options with the presets of `cell`, with block weights on."""
        return RequestOptions(presets={**self.presets, **cell.presets}, elements={**self.elements, **cell.elements})


def read_arguments(arguments: Sequence[Any]) -> RequestOptions:
    """Return the options in the script's arguments; missing, None and empty ones keep the defaults."""
    given = dict(zip((name for name, _ in ARGUMENTS), arguments))
    enabled = given.get("enabled")
    return RequestOptions(
        enabled=True if enabled is None or enabled == "" else bool(enabled),
        presets=parse_presets(str(given.get("presets") or "")).presets,
        elements=parse_elements(str(given.get("elements") or "")),
    )


def register_settings() -> None:
    """Add our settings to the WebUI's."""
    import gradio as gr
    from modules import shared

    section = ("lbw", "LoRA Block Weight")
    options = {
        ON_INVALID: shared.OptionInfo(WARN, t("On invalid block weights"), gr.Radio, {"choices": [WARN, STOP]}).info(
            t("warn: the LoRA is applied without them, with a message below the image; stop: no image is generated")
        ),
        WITH_PREDECESSOR: shared.OptionInfo(
            THIS, t("If sd-webui-lora-block-weight is also installed"), gr.Radio, {"choices": [THIS, OTHER]}
        ).info(t("which of the two handles block weights")),
        PANEL: shared.OptionInfo(True, t("Open the panel when the caret is in a LoRA tag"), gr.Checkbox).info(
            t("Alt+L always opens it")
        ),
    }
    shared.options_templates.update(shared.options_section(section, options))
    for name, option in options.items():
        # Without a value of its own here, the override of one request would stay for the next.
        shared.opts.data.setdefault(name, option.default)


def setting(name: str) -> str:
    """Return the value of one of our settings."""
    from modules import shared

    return str(getattr(shared.opts, name, None) or {ON_INVALID: WARN, WITH_PREDECESSOR: THIS}[name])
