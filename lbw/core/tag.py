"""The tag: from the text between `<lora:` and `>` to a request, and what is left of it for the host."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import limits
from .errors import LbwError, TagError, nearest, quote
from .numbers import format_number, parse_number
from .selectors import is_selector
from .steps import Span, parse_span
from .texts import t
from .weights import parse_block_weights

_TAG = re.compile(r"<(lora|lyco):([^>]+)>")
_OPENED = re.compile(r"<(?:lora|lyco):")
_KEY = re.compile(r"^\s*(\w+)=(.*)$", re.DOTALL)
_OURS = {"lbw": "lbw", "w": "lbw", "lbwe": "lbwe", "x": "x", "start": "start", "stop": "stop", "step": "step"}
_HOSTS_NUMBERS = ("te", "unet", "dyn")
_SHOWN = 40


@dataclass(frozen=True)
class LoraRequest:
    """What one tag asks for.

    te, unet: strengths for the text encoders and for the denoiser. dyn: the rank to reduce the LoRA to, None for the
    full rank. weights, elements: as written, None if the tag has none. x: value of `X`. host_items: the tag's items
    without ours; the first is the name.
    problems: items that are not valid; the LoRA is then applied without block weights. remarks: what may be a mistake,
    but changes nothing.
    """

    name: str
    te: float = 1.0
    unet: float = 1.0
    dyn: int | None = None
    weights: str | None = None
    elements: str | None = None
    x: float = 1.0
    span: Span = Span()  # noqa: RUF009 - Span is frozen
    host_items: tuple[str, ...] = ()
    problems: tuple[LbwError, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether the tag contains nothing but what the host itself understands."""
        return self.weights is None and self.elements is None and self.span == Span() and not self.problems


def parse_items(items: Sequence[str], presets: Mapping[str, str]) -> LoraRequest:
    """Return what the tag with these `items`, its text split at `:`, asks for.

    presets: only used by the positional form, in which the item after the weights is the value of `X` if the preset
        contains one.
    """
    problems: list[LbwError] = []
    remarks: list[str] = []
    keyed: dict[str, str] = {}
    named: list[str] = []
    positional: list[str] = []
    if (length := sum(map(len, items))) > limits.TAG_CHARACTERS:
        counts = {"count": f"{length:,}", "most": f"{limits.TAG_CHARACTERS:,}"}
        too_long = t("the tag has {count} characters; the limit is {most}", **counts)
        return LoraRequest(items[0], host_items=tuple(items[:1]), problems=(TagError(too_long),))
    for item in items[1:]:
        match = _KEY.match(item)
        ours = _OURS.get(match[1].lower()) if match else None
        if match and ours:
            if ours in keyed:
                remarks.append(
                    t(
                        "{key}= occurs more than once in the tag; the last one is used: {item}",
                        key=match[1],
                        item=quote(item, _SHOWN),
                    )
                )
            keyed[ours] = match[2].strip()
        elif match and len(positional) == 1 and _reads_as_weights(item):
            positional.append(item.strip())
        elif match:
            named.append(item)
            remarks += _likely_slip(match[1])
        else:
            positional.append(item.strip())
        if _OPENED.search(item) or item.endswith(("<lora", "<lyco")):
            remarks.append(t("a tag is not closed before {item}, so it ends at the next >", item=quote(item, _SHOWN)))
    if "lbw" not in keyed:
        positional = _take_positional(positional, keyed, presets, problems)
    positional = _readable(positional, problems)
    named = [item for item in named if _is_readable(item, problems)]
    te, unet, dyn = _strengths(positional, named)
    x = 1.0
    if "x" in keyed:
        number = parse_number(keyed["x"])
        if number is None:
            problems.append(TagError(t("x={text} is not a number; write for example x=0.7", text=keyed["x"])))
        elif abs(number) > limits.WEIGHT:
            most = format_number(limits.WEIGHT)
            problems.append(
                TagError(
                    t("x={text} is out of range; x goes from -{most} to {most}", text=quote(keyed["x"], 40), most=most)
                )
            )
            number = None
        x = 1.0 if number is None else number
    span = Span()
    try:
        span = parse_span(keyed.get("start"), keyed.get("stop"), keyed.get("step"))
    except LbwError as error:
        problems.append(error)
    return LoraRequest(
        name=items[0],
        te=te,
        unet=unet,
        dyn=dyn,
        weights=keyed.get("lbw"),
        elements=keyed.get("lbwe"),
        x=x,
        span=span,
        host_items=(items[0], *positional, *named),
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _reads_as_weights(item: str) -> bool:
    """Return whether `item` is a named list of block weights, `OUT00=1,IN04-IN08=0.5`, and not an item for the host."""
    weights = parse_block_weights(item)
    overrides = weights.by_block
    if weights.default is not None or (len(overrides) == 1 and overrides[0][0] in _HOSTS_NUMBERS):
        return False
    return all(entry is not None and entry.is_valid and is_selector(selector) for selector, entry in overrides)


def _likely_slip(key: str) -> list[str]:
    """Return a remark about an unknown key that looks like one of ours."""
    if key in _HOSTS_NUMBERS:
        return []
    close = [near for near in nearest(key, [*_OURS, *_HOSTS_NUMBERS], 1) if near not in ("w", "x")]
    return (
        [t("unknown item {key}= is left to the WebUI; did you mean {other}=?", key=key, other=close[0])]
        if close
        else []
    )


def parse_tag(text: str, presets: Mapping[str, str]) -> LoraRequest:
    """Return what `text`, one tag with or without its brackets, asks for.

    Raises:
        TagError: it is not a tag.
    """
    text = text.strip()
    limits.check_length(text, limits.TAG_CHARACTERS, t("the tag"), TagError)
    if text.startswith("<"):
        match = _TAG.fullmatch(text)
        if not match:
            raise TagError(t("{text} is not a tag; write for example <lora:name:1:lbw=MIDD>", text=quote(text)))
        text = match[2]
    elif text and ":" not in text:
        raise TagError(t("{text} is not a tag; write for example <lora:name:1:lbw=MIDD>", text=quote(text)))
    if not text.split(":")[0].strip():
        raise TagError(t("the tag does not name a LoRA; write for example <lora:name:1:lbw=MIDD>"))
    return parse_items(text.split(":"), presets)


def _take_positional(
    positional: list[str], keyed: dict[str, str], presets: Mapping[str, str], problems: list[LbwError]
) -> list[str]:
    """Move positional block weights, `<lora:n:1:IN02>`, from `positional` to `keyed`.

    A third item with an `@` is left alone: other extensions use it for strengths that change over the steps.
    """
    if len(positional) < 2 or _float(positional[1]) is not None or "@" in positional[1] or not positional[1]:
        return positional
    te, weights, *rest = positional
    keyed["lbw"] = weights
    if rest:
        keyed.setdefault("x" if parse_block_weights(weights).uses_x(presets) else "lbwe", rest[0])
    problems += [
        TagError(
            t("unexpected item {item} after the block weights {weights}", item=quote(item), weights=quote(weights))
        )
        for item in rest[1:]
    ]
    return [te]


def _float(text: str) -> float | None:
    """Return the finite number that Python, and therefore the host, reads from `text`; None if there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_strength(text: str) -> bool:
    """Return whether `text` is a number, or strengths over the steps (`0@0,1@0.5`) for other extensions."""
    return _float(text) is not None or "@" in text


def _is_rank(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d{1,9}\s*", text, re.ASCII) is not None


def _readable(positional: list[str], problems: list[LbwError]) -> list[str]:
    """Return the host's positional items, with invalid ones replaced by their defaults."""
    result = []
    for position, item in enumerate(positional[:3]):
        if _is_rank(item) if position == 2 else _is_strength(item):
            result.append(item)
        elif position == 2:
            problems.append(
                TagError(t("{item}, the rank (fourth item), is not a whole number; it is ignored", item=quote(item)))
            )
        else:
            result.append("1" if position == 0 else result[0])
            problems.append(
                TagError(
                    t(
                        "the strength {item} is not a number; {number} is used instead",
                        item=quote(item),
                        number=result[-1],
                    )
                )
            )
    problems += [
        TagError(t("unexpected item {item} in position {position}; it is ignored", item=quote(item), position=position))
        for position, item in enumerate(positional[3:], start=5)
    ]
    return result


def _is_readable(item: str, problems: list[LbwError]) -> bool:
    key, _, value = item.strip().partition("=")
    if key not in _HOSTS_NUMBERS or (_is_rank(value) if key == "dyn" else _is_strength(value)):
        return True
    if key == "dyn":
        problems.append(TagError(t("{item} is not a whole number; it is ignored", item=quote(item))))
    else:
        problems.append(TagError(t("{item} is not a number; it is ignored", item=quote(item))))
    return False


def _strengths(positional: list[str], named: list[str]) -> tuple[float, float, int | None]:
    """Return the strengths for the text encoders and for the denoiser, and the rank, as the hosts read them."""
    values = dict(zip(("te", "unet", "dyn"), positional))
    values |= dict(item.strip().partition("=")[::2] for item in named)
    te = _float(values.get("te", "1"))
    te = 1.0 if te is None else te
    unet = _float(values["unet"]) if "unet" in values else te
    return te, te if unet is None else unet, int(values["dyn"]) if "dyn" in values else None


# Tags in a prompt --------------------------------------------------------------------------------


def find_tags(prompt: str) -> Iterator[re.Match[str]]:
    """Yield the tags of `prompt`: as groups the kind, "lora" or "lyco", and the text of the items.

    The text after the last `>` is not searched: looking there for the end of each tag would take quadratic time.
    """
    return _TAG.finditer(prompt, 0, prompt.rfind(">") + 1)


def requests_in(prompt: str, presets: Mapping[str, str]) -> list[LoraRequest]:
    """Return what each tag of `prompt` asks for, in order."""
    return [parse_items(match[2].split(":"), presets) for match in find_tags(prompt)]


def without_tags(prompt: str) -> str:
    """Return `prompt` without its tags and the spaces they leave behind."""
    return " ".join(replace_tags(prompt, lambda _: "").split())


def replace_tags(prompt: str, replace: Callable[[re.Match[str]], str]) -> str:
    """Return `prompt` with each of its tags replaced by what `replace` returns."""
    end = prompt.rfind(">") + 1
    return _TAG.sub(replace, prompt[:end]) + prompt[end:]


def unclosed_tag(prompt: str) -> str | None:
    """Return a remark about a tag at the end of `prompt` that is not closed, None if there is none."""
    match = _OPENED.search(prompt, prompt.rfind(">") + 1)
    if match is None:
        return None
    tag = quote(prompt[match.start() :], _SHOWN)
    return t("the tag {tag} is not closed and has no effect; add > at its end", tag=tag)


def fill_in(prompt: str, entries: Sequence[str]) -> str:
    """Return `prompt` with the block weights of its tags replaced by `entries`.

    entries: `NAME:lbw=…`, with `:lbwe=…` where there are rules, one for each tag that has block weights, in the
        order of the tags; `find_entries` reads them from an infotext. A tag whose name is not that of the next
        entry is left as it is.
    """
    waiting = list(entries)

    def replace(match: re.Match[str]) -> str:
        request = parse_items(match[2].split(":"), {})
        for position, entry in enumerate(waiting):
            name, *items = entry.split(":")
            if name == request.name:
                del waiting[: position + 1]
                break
        else:
            return match[0]
        kept = [f"start={request.span.start}"] if request.span.start else []
        kept += [f"stop={request.span.stop}"] if request.span.stop else []
        return f"<{match[1]}:{':'.join([*request.host_items, *items, *kept])}>"

    def has_weights(match: re.Match[str]) -> bool:
        request = parse_items(match[2].split(":"), {})
        return request.weights is not None or request.elements is not None

    return replace_tags(prompt, lambda match: replace(match) if has_weights(match) else match[0])


def tag_text(kind: str, request: LoraRequest) -> str:
    """Return the tag that asks for `request`, in keyed form. kind: "lora" or "lyco"."""
    items = list(request.host_items or (request.name,))
    items += [f"lbw={request.weights}"] if request.weights is not None else []
    items += [f"x={format_number(request.x)}"] if request.x != 1 else []
    items += [f"lbwe={request.elements}"] if request.elements is not None else []
    items += [f"start={request.span.start}"] if request.span.start is not None else []
    items += [f"stop={request.span.stop}"] if request.span.stop is not None else []
    return f"<{kind}:{':'.join(items)}>"


def change_tag(
    prompt: str, name: str | None, presets: Mapping[str, str], change: Callable[[LoraRequest], LoraRequest]
) -> str | None:
    """Return `prompt` with one tag replaced by what `change` makes of its request.

    name: of the LoRA; the first tag if None. Returns None where there is no such tag.
    """
    for match in find_tags(prompt):
        request = parse_items(match[2].split(":"), presets)
        if name is None or request.name == name:
            return prompt[: match.start()] + tag_text(match[1], change(request)) + prompt[match.end() :]
    return None


def find_entries(text: str) -> list[str]:
    """Return the entries of an infotext's `LBW` field, `<NAME:lbw=…><…>`."""
    return re.findall(r"<([^>]+)>", text[: text.rfind(">") + 1])
