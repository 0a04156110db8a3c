"""The table of test_numbers.py: the worst relative error of each kind, by layer and by the type of the numbers."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """Errors by (library, kind, layer) and type, and sentences to print below."""

    worst: dict[tuple[str, str, str], dict[str, float]] = field(default_factory=dict)
    told: dict[str, None] = field(default_factory=dict)

    def add(self, library: str, kind: str, layer: str, dtype: str, error: float) -> None:
        """Keep `error` if it is the worst of its place."""
        row = self.worst.setdefault((library, kind, layer), {})
        row[dtype] = max(error, row.get(dtype, 0.0))

    def tell(self, sentence: str) -> None:
        """Keep a sentence, once."""
        self.told[sentence] = None

    def lines(self) -> list[str]:
        """Return the table and the sentences as lines of text."""
        columns = list(dict.fromkeys(dtype for row in self.worst.values() for dtype in row))
        head = f"{'library':8} {'kind':6} {'layer':15}" + "".join(f"{name:>10}" for name in columns)
        rows = [
            f"{library:8} {kind:6} {layer:15}"
            + "".join(f"{row[c]:10.1e}" if c in row else f"{'-':>10}" for c in columns)
            for (library, kind, layer), row in self.worst.items()
        ]
        return [head, *rows, *self.told]
