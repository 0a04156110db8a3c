"""What a running WebUI's memory does over some hundred pictures with changing LoRA tags.

    python bench/memory.py --url http://127.0.0.1:7862 --pid 1234 --lora a --lora b --lora c --json ours.json
    python bench/memory.py --url http://127.0.0.1:7862 --pid 5678 --lora a --lora b --lora c --json alone.json
    python bench/memory.py --compare alone.json ours.json

Measure a WebUI that has just been started, once with the extension and once without it: a host without a script "LoRA
Block Weight" gets the same LoRAs with the same strengths in the same order, without the block weights. Resident memory
counts the pages of files that are mapped too, which other programs may share; private memory is the process's own.

Needs Linux, Python 3.10 and nothing else; the WebUI runs on this machine, with `--api`.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from webui import Host, picture_of, table

MIB = 1 << 20
FIELDS = {"resident": ("Rss",), "private": ("Private_Clean", "Private_Dirty")}


def memory(pid: int) -> dict[str, int]:
    """Return the bytes of a process's resident and private memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return {what: sum(kib[field] for field in fields) * 1024 for what, fields in FIELDS.items()}


class Prompts:
    """Prompts with changing tags of one or two LoRAs; names and strengths are the same with and without weights."""

    def __init__(self, loras: Sequence[str], layout: int, weighted: bool) -> None:
        self.loras, self.layout, self.weighted = loras, layout, weighted
        self._draw, self._weights = random.Random(0), random.Random(0)

    def next(self) -> str:
        """Return the tags of the next picture."""
        names = self._draw.sample(self.loras, min(len(self.loras), self._draw.choice((1, 1, 2))))
        return "".join(f"<lora:{name}:{self._draw.uniform(0.2, 1):.3f}{self._items()}>" for name in names)

    def _items(self) -> str:
        if not self.weighted:
            return ""
        numbers = ",".join(f"{self._weights.uniform(0, 1):.2f}" for _ in range(self.layout))
        return f":lbw={numbers}" + self._weights.choice(("", "", ":start=2", ":stop=2"))


def measure(host: Host, pid: int, prompts: Prompts, at: Sequence[int]) -> list[dict[str, int]]:
    """Return the memory before the first picture and after each count of pictures in `at`."""
    rows = [{"pictures": 0, **memory(pid)}]
    began = time.perf_counter()
    for number in range(1, max(at) + 1):
        host.picture_of(prompts.next())
        if number in at:
            rows.append({"pictures": number, **memory(pid)})
            print(f"{number} pictures, {time.perf_counter() - began:.0f} s: {rows[-1]}", file=sys.stderr, flush=True)
    return rows


def report(measured: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: MiB, and how much more than in the line before."""
    lines = []
    for one in measured:
        before: dict[str, int] = {}
        for row in one["rows"]:
            cells = [one["label"], str(row["pictures"])]
            for what in FIELDS:
                cells.append(f"{row[what] / MIB:.0f}")
                cells.append(f"{(row[what] - before[what]) / MIB:+.0f}" if before else "")
            lines.append(cells)
            before = row
    return table(["host", "pictures", *(cell for what in FIELDS for cell in (f"{what} MiB", "more"))], lines)


def main() -> None:
    """Measure, or compare what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--url", help="the running WebUI")
    add("--pid", type=int, help="its process")
    add("--lora", action="append", default=[], metavar="NAME", help="as a tag names it; give it once for each")
    add("--layout", type=int, default=17, help="how many numbers block weights have: 17 SD, 12 SDXL, … (default 17)")
    add("--at", default="20,100,200,300", metavar="COUNT,…", help="measure after so many pictures")
    add("--size", type=int, default=64, help="width and height of the pictures (default 64)")
    add("--steps", type=int, default=2, help="sampling steps (default 2)")
    add("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    add("--compare", type=Path, nargs="+", metavar="FILE", help="measure nothing: print what these files hold")
    options = parser.parse_args()
    if options.compare:
        print(report([json.loads(path.read_text()) for path in options.compare]))
        return
    if not (options.url and options.pid and options.lora):
        parser.error("give --url, --pid and --lora, or --compare FILE…")
    picture = picture_of(options.steps, options.size)
    host = Host("", options.url, options.pid, picture)
    prompts = Prompts(options.lora, options.layout, host.weighted)
    rows = measure(host, options.pid, prompts, sorted(int(count) for count in options.at.split(",")))
    measured = {"label": "with block weights" if host.weighted else "host alone", "rows": rows}
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1))
    print(report([measured]))


if __name__ == "__main__":
    main()
