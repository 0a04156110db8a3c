"""The Effective Block Analyzer on running WebUIs: total time, and what it costs beyond the pictures themselves.

    python bench/analyzer.py --host ours=http://127.0.0.1:7861 --host predecessor=http://127.0.0.1:7871 --lora NAME

Each host is a WebUI with `--api`, one with this extension, one with the predecessor; give one where memory does not
hold two. In turn, for each host: plain pictures with the LoRA (what a cell costs at least), then one analysis of
12ALL. Printed are the total time as a ratio to the first host's, and for each host the time of a cell beyond a plain
picture's, as a ratio to a plain picture's. A new seed for each run: nothing is taken from an earlier one.

Needs Python 3.10 and nothing else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import urllib.request
from typing import Any

SCRIPT = "LoRA Block Weight"
CELLS = 13


def post(url: str, body: dict[str, Any]) -> float:
    """Return the seconds that one request took."""
    request = urllib.request.Request(
        f"{url}/sdapi/v1/txt2img", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=7200) as answer:
        answer.read()
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each host and run, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", action="append", required=True, metavar="NAME=URL")
    parser.add_argument("--lora", required=True, metavar="NAME")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1)
    options = parser.parse_args()
    hosts = dict(host.split("=", 1) for host in options.host)
    base = {
        "steps": options.steps, "width": options.size, "height": options.size, "cfg_scale": 5,
        "sampler_name": "Euler", "save_images": False, "send_images": False,
    }  # fmt: skip
    # Eighteen arguments, which the predecessor of today wants; its README's seventeen are a beginning of them.
    analyzer = {
        "script_name": SCRIPT,
        "script_args": ["", True, 2, "values", "0", "Block ID", "IN04", "none", "", "0,1", "12ALL", 1, "black", 20,
                        False, "", "", False],
    }  # fmt: skip
    totals: dict[str, list[float]] = {name: [] for name in hosts}
    beyond: dict[str, list[float]] = {name: [] for name in hosts}
    for run in range(options.runs):
        seed = int(time.time()) + run
        for name, url in hosts.items():
            plain = {**base, "prompt": f"a cat <lora:{options.lora}:1>", "seed": seed}
            post(url, plain)
            one = statistics.median(post(url, {**plain, "seed": seed + n}) for n in range(1, 4))
            total = post(url, {**base, **analyzer, "prompt": f"a cat <lora:{options.lora}:1:lbw=XYZ>", "seed": seed})
            after = statistics.median(post(url, {**plain, "seed": seed + n}) for n in range(4, 6))
            one = (one + after) / 2
            totals[name].append(total)
            beyond[name].append((total / CELLS - one) / one)
            print(f"{name:12} picture {one:7.2f} s   {CELLS} cells {total:8.2f} s   beyond a picture {beyond[name][-1]:+.3f}", flush=True)  # fmt: skip # noqa: E501
    first = next(iter(hosts))
    for name in hosts:
        ratio = statistics.median(a / b for a, b in zip(totals[name], totals[first]))
        print(f"{name:12} total, ratio to {first}: {ratio:.3f}   a cell beyond a picture: {statistics.median(beyond[name]):+.3f}")  # fmt: skip # noqa: E501


if __name__ == "__main__":
    main()
