"""The plan: for each tensor of a LoRA, the number that its contribution is scaled by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from .blocks import Site, locate
from .elements import Rule, resolve_elements
from .entries import RandomSource
from .errors import LbwError
from .family import Architecture
from .selectors import select_in_kind
from .tag import LoraRequest
from .weights import ResolvedWeights, parse_block_weights, uniform


@dataclass(frozen=True)
class ResolvedLora:
    """A request whose presets, random numbers and rules are resolved.

    denoiser_on: whether the LoRA is active in the denoiser at the moment (SYNTAX.md 6). file_version: of its file, if
    it was replaced since it was first applied; what was merged from the old file is then out of date.
    """

    request: LoraRequest
    architecture: Architecture
    weights: ResolvedWeights
    rules: tuple[Rule, ...] = ()
    problems: tuple[LbwError, ...] = ()
    denoiser_on: bool = True
    file_version: str = ""

    def weight(self, site: Site) -> float:
        """Return the block weight of the tensor at `site`, after the rules; later rules override earlier ones."""
        for rule in reversed(self.rules):
            if rule.matches(site, self.architecture):
                return rule.weight
        return self.weights.blocks[site.block]

    def multiplier(self, site: Site) -> float:
        """Return the strength times the block weight of the tensor at `site`."""
        if site.encoder:
            return self.request.te * self.weight(site)
        return self.request.unet * self.weight(site) if self.denoiser_on else 0.0

    def multipliers(self, tensors: Iterable[str]) -> dict[str, float]:
        """Return the multiplier of each of `tensors`, names of the LoRA's tensors or modules in any naming."""
        return {tensor: self.multiplier(locate(tensor, self.architecture)) for tensor in tensors}

    @property
    def is_plain(self) -> bool:
        """Whether every tensor gets exactly the strength at every step."""
        plain_weights = all(weight == 1 for weight in self.weights.blocks.values())
        return plain_weights and not self.rules and self.denoiser_on and self.request.span == LoraRequest("").span

    @cached_property
    def digest(self) -> str:
        """A short text that differs whenever a multiplier may differ."""
        parts = (
            self.architecture.name,
            self.request.te,
            self.request.unet,
            sorted(self.weights.blocks.items()),
            [rule.text() for rule in self.rules],
            self.denoiser_on,
        )
        return _digest((*parts, self.file_version) if self.file_version else parts)

    @cached_property
    def encoder_digest(self) -> str:
        """A short text that differs whenever a text encoder's multipliers may; empty if its block weights are 1."""
        blocks = sorted(set(self.architecture.encoders.values()))
        weights = [self.weights.blocks[block] for block in blocks]
        rules = [
            rule.text()
            for rule in self.rules
            if not rule.blocks or set(select_in_kind(rule.blocks, self.architecture)) & set(blocks)
        ]
        version = () if self.is_plain or not self.file_version else (self.file_version,)
        if not rules and all(weight == 1 for weight in weights) and not version:
            return ""
        return _digest((weights, rules, *version))

    @cached_property
    def entry(self) -> str | None:
        """What was used, as tag items that mean exactly the same anywhere; None for a tag without block weights.

        If they were invalid and the LoRA was applied without them, the entry says so.
        """
        request = self.request
        if request.weights is None and request.elements is None:
            return None
        if self.problems:
            return f"{request.name}:lbw={uniform(self.architecture).text(self.architecture)}"
        items = [request.name]
        if request.weights is not None:
            items.append(f"lbw={self.weights.text(self.architecture)}")
        if self.rules:
            items.append("lbwe=" + ",".join(rule.text() for rule in self.rules))
        return ":".join(items)


def _digest(value: object) -> str:
    import hashlib  # here, because it is slow to import

    return hashlib.sha1(repr(value).encode()).hexdigest()[:16]


def resolve_request(
    request: LoraRequest,
    architecture: Architecture,
    presets: Mapping[str, str],
    elements: Mapping[str, str],
    seed: int = 0,
) -> ResolvedLora:
    """Return `request` with everything resolved for a LoRA of `architecture`.

    Errors are in `problems`; the LoRA should then be applied without block weights.
    """
    problems = list(request.problems)
    weights = uniform(architecture)
    rules: tuple[Rule, ...] = ()
    try:
        if request.weights is not None:
            parsed = parse_block_weights(request.weights)
            weights = parsed.resolve(architecture, presets, RandomSource(seed, request.name), request.x)
        if request.elements is not None:
            rules = resolve_elements(request.elements, elements, architecture)
    except LbwError as error:
        problems.append(error)
    if problems:
        weights, rules = uniform(architecture), ()
    return ResolvedLora(request, architecture, weights, rules, tuple(problems))


def at_step(resolved: ResolvedLora, step: int, steps: int) -> ResolvedLora:
    """Return `resolved` for sampling step `step`, from 1, of a pass of `steps` steps."""
    on = resolved.request.span.holds(step, steps)
    return resolved if on == resolved.denoiser_on else replace(resolved, denoiser_on=on)
