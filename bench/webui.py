"""What block weights cost on running WebUIs, over HTTP: ratios measured side by side in one run.

    python bench/webui.py --host alone=http://127.0.0.1:7862 --host ours=http://127.0.0.1:7865 \
        --host predecessor=http://127.0.0.1:7866 --lora unetonly --lora2 full

Each host is a WebUI started with `--api` and with an extensions folder of its own (`--data-dir`), all with the
same checkpoint and LoRAs. A host without a script "LoRA Block Weight" is the host alone: where the others get
block weights, it gets the plain tag. Requests go to the hosts in turn, one at a time, so that whatever else the
machine does meets all of them; a ratio is the median of the ratios of neighbouring requests. Pictures are tiny,
so that what loading and merging LoRAs costs is not lost in the sampling.

Needs Python 3.10 and nothing else.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = "lora block weight"
BASE_FIRST = {12, 17, 20, 26}
Prompt = Callable[[int], str]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    weighted: the prompt of the n-th request, for a host with block weights; plain: for a host alone.
    needs: how many LoRAs the row names.
    """

    name: str
    title: str
    plain: Prompt
    weighted: Prompt
    needs: int = 1


def cases(first: str, second: str | None, layout: int) -> list[Case]:
    """Return the rows, for two LoRAs by name and block weights of `layout` numbers."""
    head = 1 if layout in BASE_FIRST else 3 if layout == 61 else 0  # text encoders' places, left at 1

    def numbers(values: Sequence[float]) -> str:
        return ",".join(f"{value:g}" for value in values)

    def fixed() -> list[float]:
        return [1.0] * head + [round(0.5 + 0.4 * place / layout, 3) for place in range(layout - head)]

    def one(n: int) -> str:
        """Values of which the n-th differ from the n-1-th in one place, each place in its turn."""
        values, count = fixed(), layout - head
        for place in range(count):
            turns = (n + count - 1 - place) // count if n > place else 0
            values[head + place] = round(values[head + place] + 0.001 * turns, 3)
        return numbers(values)

    def everything(n: int) -> str:
        return numbers([1.0] * head + [round(value + 0.001 * n, 3) for value in fixed()[head:]])

    def tag(name: str | None, n: int = 0, weights: str = "") -> str:
        strength = round(1 - 0.001 * n, 3)
        return f"<lora:{name}:{strength:g}:{strength:g}{':lbw=' + weights if weights else ''}>"

    again = numbers(fixed())
    rows = [
        Case("none", "no LoRA", lambda n: "", lambda n: "", 0),
        Case("plain", "plain tag, again", lambda n: tag(first), lambda n: tag(first)),
        Case("strength", "plain tag, strength changed", lambda n: tag(first, n), lambda n: tag(first, n)),
        Case("again", "block weights, again", lambda n: tag(first), lambda n: tag(first, 0, again)),
        Case("one", "one block changed", lambda n: tag(first, n), lambda n: tag(first, 0, one(n))),
        Case("all", "all blocks changed", lambda n: tag(first, n), lambda n: tag(first, 0, everything(n))),
        Case(
            "two-again",
            "two LoRAs with block weights, again",
            lambda n: tag(first) + tag(second),
            lambda n: tag(first, 0, again) + tag(second, 0, again),
            2,
        ),
        Case(
            "two-one",
            "two LoRAs, one block of the second changed",
            lambda n: tag(first) + tag(second, n),
            lambda n: tag(first, 0, again) + tag(second, 0, one(n)),
            2,
        ),
    ]
    return [row for row in rows if row.needs < 2 or second]


# Ratios within one host: what, over what.
WITHIN = (
    ("again", "plain"),
    ("one", "strength"),
    ("all", "strength"),
    ("strength", "plain"),
    ("plain", "none"),
)


@dataclass
class Timing:
    """What one host took for one case: wall-clock seconds of each request; CPU seconds where a pid was given."""

    host: str
    case: str
    run: str
    weighted: bool
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)

    def add(self, seconds: float, cpu_seconds: float | None) -> None:
        """Note one request."""
        self.seconds.append(seconds)
        if cpu_seconds is not None:
            self.cpu_seconds.append(cpu_seconds)


class Host:
    """A running WebUI."""

    def __init__(self, label: str, url: str, pid: int | None, picture: dict[str, Any]) -> None:
        self.label, self.url, self.pid, self.picture = label, url.rstrip("/"), pid, picture
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        titles = self.call("/sdapi/v1/scripts")["txt2img"]
        self.weighted = any(str(title).lower() == SCRIPT for title in titles)

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with self._opener.open(request, timeout=1800) as answer:
            return json.loads(answer.read())

    def cpu(self) -> float:
        """Return the CPU seconds that the host has used (Linux, a host on this machine), 0 if they are not known."""
        if self.pid is None:
            return 0.0
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / float(os.sysconf("SC_CLK_TCK"))

    def picture_of(self, prompt: str) -> str:
        """Return the picture that a prompt gives, as base64."""
        return str(self.call("/sdapi/v1/txt2img", {**self.picture, "prompt": f"a cat {prompt}".strip()})["images"][0])

    def time(self, prompt: str) -> tuple[float, float | None]:
        """Request a picture; return the wall-clock seconds and, if they are counted, the CPU seconds that it took."""
        cpu, start = self.cpu(), time.perf_counter()
        self.picture_of(prompt)
        seconds = time.perf_counter() - start
        return seconds, None if self.pid is None else self.cpu() - cpu

    def check(self, rows: Sequence[Case], layout: int) -> None:
        """Raise where the LoRA does nothing here, or block weights do nothing: there would be nothing to measure."""
        by_name = {row.name: row for row in rows}
        none, plain = self.picture_of(by_name["none"].plain(0)), self.picture_of(by_name["plain"].plain(0))
        if none == plain:
            raise SystemExit(f"{self.label}: the LoRA changes nothing; is it there, and does it fit the model?")
        if self.weighted:
            tag = by_name["plain"].plain(0).replace(">", f":lbw={','.join(['0'] * layout)}>")
            if self.picture_of(tag) == plain:
                raise SystemExit(f"{self.label}: block weights change nothing; is {layout} the LoRA's layout?")


# Measuring ----------------------------------------------------------------------------------------


def measure(hosts: Sequence[Host], rows: Sequence[Case], runs: int, chunk: int, run: str) -> list[Timing]:
    """Time every case on every host, in rounds: in each a few requests of every case, host by host in turn.

    Ctrl+C, and a host that no longer answers, end it early: what was measured until then is returned.
    """
    timings = {
        (host.label, row.name): Timing(host.label, row.name, run, host.weighted) for row in rows for host in hosts
    }
    n, rounds = 1, math.ceil(runs / chunk)
    try:
        for number in range(-1, rounds):  # the first is the warm-up
            for row in rows:
                started = time.perf_counter()
                requests = 1 if number < 0 else min(chunk, runs - number * chunk)
                for request in range(-1, requests):  # the first of each brings the host into the case's state
                    turn = (n + request) % len(hosts)
                    taken = [
                        (host, host.time((row.weighted if host.weighted else row.plain)(n)))
                        for host in [*hosts[turn:], *hosts[:turn]]
                    ]
                    if number >= 0 and request >= 0:
                        for host, (seconds, cpu_seconds) in taken:
                            timings[host.label, row.name].add(seconds, cpu_seconds)
                    n += 1
                what = "warm-up" if number < 0 else f"round {number + 1}/{rounds}"
                print(f"{what}: {row.title}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    except (KeyboardInterrupt, OSError, http.client.HTTPException) as error:
        print(f"ended early: {error!r}", file=sys.stderr)
    return [timing for timing in timings.values() if timing.seconds]


# Figures ------------------------------------------------------------------------------------------


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval that holds the median of what `values` are samples of, with at least 95 % (order statistics).

    The whole range, where there are fewer than six.
    """
    ordered, n = sorted(values), len(values)
    outside, below = 0, 1 / 2**n  # values to leave out on each side; the chance that at most so many are below
    while 2 * below <= 0.05 and outside < n // 2:
        outside += 1
        below += math.comb(n, outside) / 2**n
    low = max(outside - 1, 0)
    return ordered[low], ordered[n - 1 - low]


def ratio(above: Sequence[float], below: Sequence[float], paired: bool) -> str:
    """Return the ratio of two timings as text: the median of the pairs' ratios, and its interval.

    Timings of different runs have no pairs: then it is the ratio of the medians, marked as the weaker one.
    """
    if not above or not below:
        return "–"
    if not paired or len(above) != len(below):
        return f"~{statistics.median(above) / statistics.median(below):.2f}"
    pairs = [a / b for a, b in zip(above, below)]
    low, high = interval(pairs)
    return f"{statistics.median(pairs):.3f} ({low:.2f}–{high:.2f})"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def report(timings: Sequence[Timing], rows: Sequence[Case]) -> str:
    """Return the tables: times and ratios to the host alone, then ratios within each host."""
    with_cpu = any(timing.cpu_seconds for timing in timings)
    head = ["case", "host", "runs", "median s", "min", "max", "to alone", "of minima"]
    lines, weaker = [], False
    for row in rows:
        alone = [timing for timing in timings if timing.case == row.name and not timing.weighted]
        for timing in (timing for timing in timings if timing.case == row.name and timing.seconds):
            reference = next((a for a in alone if a.run == timing.run), alone[0] if alone else None)
            figures = ["–"] * (3 if with_cpu else 2)
            if reference is not None:
                paired = reference.run == timing.run
                weaker = weaker or not paired
                figures[0] = ratio(timing.seconds, reference.seconds, paired)
                figures[1] = f"{min(timing.seconds) / min(reference.seconds):.3f}"
                if with_cpu:
                    figures[2] = ratio(timing.cpu_seconds, reference.cpu_seconds, paired)
            if timing is reference:
                figures = ["1"] * len(figures)
            lines.append(
                [row.title, timing.host, str(len(timing.seconds)), f"{statistics.median(timing.seconds):.3f}"]
                + [f"{value:.3f}" for value in (min(timing.seconds), max(timing.seconds))]
                + figures
            )
    parts = [table(head + ["CPU to alone"] * with_cpu, lines)]
    if weaker:
        parts.append("`~`: from different runs, one host at a time: weaker than ratios measured side by side.")
    titles = {row.name: row.title for row in rows}
    lines = []
    for above, below in WITHIN:
        for timing in (timing for timing in timings if timing.case == above and timing.weighted):
            others = [t for t in timings if (t.case, t.host, t.run) == (below, timing.host, timing.run)]
            if others and timing.seconds and others[0].seconds:
                cells = [ratio(timing.seconds, others[0].seconds, True)]
                cells += [ratio(timing.cpu_seconds, others[0].cpu_seconds, True)] * with_cpu
                lines.append([f"{titles[above]} / {titles[below]}", timing.host, *cells])
    if lines:
        parts.append(table(["within one host", "host", "ratio"] + ["of CPU"] * with_cpu, lines))
    parts.append(
        "Ratio: median of the ratios of neighbouring requests, with its 95 % interval. The host alone gets the plain "
        "tag where the others get block weights, and another strength where they get changed ones."
    )
    return "\n\n".join(parts)


# Command line -------------------------------------------------------------------------------------


def load(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Timing]]:
    """Return the settings and the timings that files hold.

    Raises:
        SystemExit: their settings differ, so that there is nothing to compare.
    """
    settings: dict[str, Any] | None = None
    timings = []
    for path in paths:
        data = json.loads(path.read_text())
        if settings is not None and data["settings"] != settings:
            raise SystemExit(f"{path} was measured with {data['settings']}, the others with {settings}")
        settings = data["settings"]
        timings += [Timing(**timing) for timing in data["timings"]]
    return settings or {}, timings


def save(path: Path, settings: dict[str, Any], timings: Sequence[Timing]) -> None:
    """Write settings and timings to a file."""
    path.write_text(json.dumps({"settings": settings, "timings": [asdict(t) for t in timings]}, indent=1))


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """Return `LABEL=VALUE` options as a mapping."""
    result = dict(value.split("=", 1) for value in values if "=" in value)
    if len(result) != len(values):
        raise SystemExit(f"{option}: write LABEL=VALUE, each label once; got {', '.join(values)}")
    return result


def picture_of(steps: int, size: int) -> dict[str, Any]:
    """Return the fields of a request for a square picture of `size` pixels, which the WebUI does not save."""
    return {
        "seed": 1,
        "steps": steps,
        "width": size,
        "height": size,
        "sampler_name": "Euler",
        "cfg_scale": 5,
        "do_not_save_samples": True,
        "do_not_save_grid": True,
    }


def main() -> None:
    """Measure, or compare what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--host", action="append", default=[], metavar="LABEL=URL", help="a running WebUI; give it once for each")
    add("--pid", action="append", default=[], metavar="LABEL=PID", help="a host's process, to count its CPU time too")
    add("--lora", help="a LoRA's name, as a tag names it")
    add("--lora2", help="a second one, for the cases with two")
    add("--layout", type=int, default=17, help="how many numbers block weights have: 17 SD, 12 SDXL, … (default 17)")
    add("--runs", type=int, default=9, help="timed requests for each case on each host (default 9)")
    add("--chunk", type=int, default=5, help="timed requests of one case before the next case's turn (default 5)")
    add("--size", type=int, default=64, help="width and height of the pictures (default 64)")
    add("--steps", type=int, default=1, help="sampling steps (default 1)")
    add("--only", default="", metavar="CASE,…", help="of " + ", ".join(row.name for row in cases("", "-", 17)))
    add("--json", type=Path, metavar="FILE", help="write every time to this file")
    add("--append", type=Path, metavar="FILE", help="add every time to this file; compare with what it holds already")
    add("--compare", type=Path, nargs="+", metavar="FILE", help="measure nothing: compare what these files hold")
    options = parser.parse_args()

    if options.compare:
        settings, timings = load(options.compare)
        rows = cases(settings["lora"], settings["lora2"], settings["layout"])
        print(f"{settings}\n\n{report(timings, rows)}")
        return
    if not options.host or not options.lora:
        parser.error("give --host LABEL=URL and --lora NAME, or --compare FILE")
    settings = {name: getattr(options, name) for name in ("lora", "lora2", "layout", "size", "steps")}
    older: list[Timing] = []
    if options.append and options.append.exists():
        known, older = load([options.append])
        if known != settings:
            raise SystemExit(f"{options.append} was measured with {known}, not with {settings}")
    rows = cases(options.lora, options.lora2, options.layout)
    picture = picture_of(options.steps, options.size)
    pids = pairs(options.pid, "--pid")
    try:
        hosts = [
            Host(label, url, int(pids[label]) if label in pids else None, picture)
            for label, url in pairs(options.host, "--host").items()
        ]
        for host in hosts:
            host.check(rows, options.layout)
        wanted = [row for row in rows if not options.only or row.name in options.only.split(",")]
        run = f"{time.strftime('%Y-%m-%dT%H:%M:%S')}, process {os.getpid()}"
        timings = [*older, *measure(hosts, wanted, options.runs, options.chunk, run)]
    except urllib.error.URLError as error:
        detail = error.read().decode(errors="replace")[:500] if isinstance(error, urllib.error.HTTPError) else ""
        raise SystemExit(f"a host did not answer as it should: {error} {detail}") from None
    for path in (options.json, options.append):
        if path:
            save(path, settings, timings)
    print(f"{settings}\n\n{report(timings, rows)}")


if __name__ == "__main__":
    main()
