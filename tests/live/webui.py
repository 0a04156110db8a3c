"""A small HTTP client for a running WebUI: pictures as arrays, what the API said about them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

SCRIPT_TITLE = "LoRA Block Weight"
SIZE = int(os.environ.get("LBW_SIZE", "64"))
DEFAULTS: dict[str, Any] = {
    "negative_prompt": "",
    "seed": 7,
    "steps": 1,
    "cfg_scale": 3,
    "width": SIZE,
    "height": SIZE,
    "sampler_name": "Euler",
}


class RequestError(Exception):
    """The WebUI answered with an HTTP error; `str()` is the status and the body."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status
        self.body = body


@dataclass(frozen=True, repr=False)
class Answer:
    """What one generation request gave: pictures (uint8, HxWx3), the PNGs as base64, the info."""

    pictures: list[np.ndarray]
    pngs: list[str]
    info: dict[str, Any]

    def __repr__(self) -> str:
        digest = f"{zlib.crc32(self.picture.tobytes()):08x}"
        return f"<picture {digest} of {self.info['prompt']!r}, seed {self.info['seed']}>"

    @property
    def picture(self) -> np.ndarray:
        return self.pictures[0]

    @property
    def infotext(self) -> str:
        return self.info["infotexts"][self.info.get("index_of_first_image", 0)]

    @property
    def lbw(self) -> str:
        """The value of the infotext's `LBW` field, unquoted; "" if there is none."""
        found = re.search(r'(?:^|[\n,]) ?LBW: ("(?:\\.|[^"\\])*"|[^,\n]*)', self.infotext)
        if not found:
            return ""
        value = found.group(1)
        return json.loads(value) if value.startswith('"') else value

    @property
    def warnings(self) -> str:
        """The messages about bad input, as the API's answer carries them."""
        return str(self.info["extra_generation_params"].get("LBW warnings", ""))


class WebUI:
    """One running WebUI. Identical requests are rendered once, unless asked for `fresh`.

    `notes` are lines that the test run prints at its end.
    """

    def __init__(self, url: str, timeout_seconds: float = 900) -> None:
        self.url = url.rstrip("/")
        self.timeout_seconds = timeout_seconds
        self.rendered = 0
        self.notes: list[str] = []
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._cache: dict[str, Answer] = {}

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "POST") -> Any:
        """The JSON answer to a request; raises RequestError on an HTTP error."""
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self._opener.open(request, timeout=self.timeout_seconds) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise RequestError(error.code, error.read().decode(errors="replace")) from None
        return json.loads(text) if text else None

    @cached_property
    def hires(self) -> dict[str, Any]:
        """What asks for a hires pass; hosts without upscalers of latents scale the picture."""
        modes = self.call("/sdapi/v1/latent-upscale-modes", method="GET")
        return {
            "enable_hr": True,
            "hr_scale": 2,
            "hr_upscaler": "Latent" if modes else "None",
            "hr_second_pass_steps": 2,
            "denoising_strength": 0.7,
            "hr_additional_modules": ["Use same choices"],  # Forge cannot do without it
        }

    def generate(self, path: str, payload: dict[str, Any]) -> Answer:
        """Sends a generation request unchanged, and always anew."""
        answer = self.call(path, payload)
        info = json.loads(answer["info"])
        pngs = answer["images"][info.get("index_of_first_image", 0) :]
        self.rendered += len(pngs)
        return Answer([decode(png) for png in pngs], pngs, info)

    def render(self, prompt: str, *, fresh: bool = False, **payload: Any) -> Answer:
        """txt2img; an identical request of this session is answered from memory unless `fresh`."""
        return self._cached("/sdapi/v1/txt2img", {**DEFAULTS, "prompt": prompt, **payload}, fresh)

    def repaint(self, prompt: str, picture: np.ndarray, *, fresh: bool = False, **payload: Any) -> Answer:
        """img2img over `picture`."""
        body = {**DEFAULTS, "prompt": prompt, "init_images": [encode(picture)], **payload}
        return self._cached("/sdapi/v1/img2img", body, fresh)

    def interrupted(self, prompt: str, at_step: int, **payload: Any) -> Answer:
        """txt2img, interrupted once it has come to a step (0: as soon as it has begun, or before its first step)."""
        answers: list[Answer] = []
        errors: list[RequestError] = []

        def ask() -> None:
            try:
                answers.append(self.generate("/sdapi/v1/txt2img", {**DEFAULTS, "prompt": prompt, **payload}))
            except RequestError as error:
                errors.append(error)

        request = threading.Thread(target=ask)
        request.start()
        while request.is_alive():
            state = self.call("/sdapi/v1/progress?skip_current_image=true", method="GET")["state"]
            if state["job"] and state["sampling_step"] >= at_step:
                break
            time.sleep(0.05)
        self.call("/sdapi/v1/interrupt")
        request.join()
        if errors:
            raise errors[0]
        return answers[0]

    def _cached(self, path: str, payload: dict[str, Any], fresh: bool) -> Answer:
        key = path + json.dumps(payload, sort_keys=True)
        if fresh or key not in self._cache:
            answer = self.generate(path, payload)
            self._cache.setdefault(key, answer)
            return answer
        return self._cache[key]


def script_args(presets: str = "", active: bool = True, elements: str = "") -> dict[str, Any]:
    """`alwayson_scripts` for one request: the predecessor's seventeen arguments."""
    args = [presets, active, 1] + [""] * 14
    args[15] = elements
    return {SCRIPT_TITLE: {"args": args}}


def decode(png: str) -> np.ndarray:
    data = base64.b64decode(png.split(",", 1)[-1])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def encode(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def same(first: Answer, second: Answer) -> bool:
    """Whether two answers' first pictures are equal, bit for bit."""
    return np.array_equal(first.picture, second.picture)


def distance(first: Answer, second: Answer) -> float:
    """Mean absolute difference of two pictures, in levels of 0 to 255."""
    return float(np.abs(first.picture.astype(float) - second.picture.astype(float)).mean())
