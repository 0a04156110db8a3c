"""Requests that no page sends, to a running WebUI: each is answered soon, and ours never with a server error."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import PROMPT, Files
from .webui import DEFAULTS, Answer, RequestError, WebUI, same

pytestmark = pytest.mark.live
HUGE = "9" * 5000
SECONDS = 30
"""Seconds that an answer may take while a picture is being made on the same machine."""
JSON = {"Content-Type": "application/json"}


def connect(webui: WebUI) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(webui.url).netloc, timeout=SECONDS)


def ask(webui: WebUI, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    """The status and the text of the answer to a request that is sent unchanged."""
    connection = connect(webui)
    connection.putrequest(method, path, skip_host="Host" in headers)
    data = (body or "").encode()
    for name, value in {**JSON, "Content-Length": str(len(data)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(data)
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text


def still_serves(webui: WebUI) -> None:
    status, text = ask(webui, "GET", "/lbw/v1/presets")
    assert (status, "ALL" in json.loads(text)["presets"]) == (200, True)


@pytest.mark.parametrize(
    ("route", "body", "word"),
    [
        ("explain", r'{"tag": "<lora:NAME:1:lbw=\ud800>"}', "half of a surrogate pair"),
        ("explain", r'{"tag": "a", "\udfff": 1}', "half of a surrogate pair"),
        ("explain", '{"tag": "<lora:NAME:1>", "seed": 1e400}', "finite"),
        ("explain", '{"tag": "<lora:NAME:1>", "seed": NaN}', "finite"),
        ("explain", '{"tag": "<lora:NAME:1>", "seed": 1' + "0" * 400 + "}", "seed"),
        ("explain", '{"tag": ' + "[" * 100_000, ""),
        ("analyze", r'{"prompt": "\udc00"}', "half of a surrogate pair"),
        ("analyze", '{"prompt": "a", "seed": 1e400}', "finite"),
        ("analyze", '{"prompt": "a", "steps": 1000000000}', "steps"),
        ("analyze", '{"prompt": "a", "width": 1000000000}', "width"),
        ("analyze", "nothing", ""),
    ],
)
def test_what_cannot_be_meant_is_refused_by_our_routes(
    route: str, body: str, word: str, webui: WebUI, files: Files
) -> None:
    status, text = ask(webui, "POST", f"/lbw/v1/{route}", body.replace("NAME", files.both))
    assert (status in (400, 422), word in text, len(text) < 5000) == (True, True, True), (status, text[:500])
    still_serves(webui)


@pytest.mark.parametrize("weights", [f"{HUGE}ALL", HUGE, f"0,{HUGE}=1", f"1:start={HUGE}", f"0,IN01=1e{HUGE}"])
def test_a_number_of_5000_digits_is_told_by_the_routes_and_under_the_picture(
    weights: str, webui: WebUI, files: Files
) -> None:
    tag = f"<lora:{files.both}:1:lbw={weights}>"
    status, text = ask(webui, "POST", "/lbw/v1/explain", json.dumps({"tag": tag}))
    assert (status in (200, 422), "999" in text, len(text) < 20_000) == (True, True, True), (status, text[:500])
    picture = webui.render(f"{PROMPT} {tag}", fresh=True)
    assert "999" in picture.warnings
    assert same(picture, webui.render(f"{PROMPT} <lora:{files.both}:1>"))


@pytest.mark.parametrize("name", ["Host", "Origin", "Referer"])
@pytest.mark.parametrize("value", ["[::1", "]", "http://[", "http://[::1", "null", "a" * 5000])
def test_a_header_that_is_no_address_is_no_error_of_the_server(name: str, value: str, webui: WebUI) -> None:
    for method, path, body in (("GET", "/lbw/v1/loras", None), ("POST", "/lbw/v1/explain", '{"tag": "a"}')):
        status, text = ask(webui, method, path, body, **{name: value})
        assert status < 500, text[:500]
    still_serves(webui)


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize(("method", "path"), [("PUT", "/lbw/v1/presets"), ("POST", "/lbw/v1/explain")])
def test_a_body_of_200_mb_is_refused_and_the_server_goes_on(
    method: str, path: str, is_chunked: bool, webui: WebUI
) -> None:
    before = ask(webui, "GET", "/lbw/v1/presets")
    connection, chunk = connect(webui), bytes(1 << 20)
    connection.putrequest(method, path)
    connection.putheader("Content-Type", "application/json")
    connection.putheader(*(("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(200 << 20))))
    connection.endheaders()
    began = time.monotonic()
    try:
        for _ in range(200):
            connection.send(b"100000\r\n" + chunk + b"\r\n" if is_chunked else chunk)
        if is_chunked:
            connection.send(b"0\r\n\r\n")
    except ConnectionError:
        pass  # the server has answered and reads no more
    answer = connection.getresponse()
    assert answer.status == 413, answer.read()[:500]
    assert time.monotonic() - began < SECONDS
    connection.close()
    assert ask(webui, "GET", "/lbw/v1/presets") == before


def test_half_a_character_in_a_tag_is_answered_as_the_host_answers_one_beside_it(
    webui: WebUI, files: Files, none: Answer
) -> None:
    """What happens to a prompt with half of a surrogate pair is up to the host; our tag must not make it worse."""

    def answer(prompt: str) -> Any:
        try:
            return webui.generate("/sdapi/v1/txt2img", {**DEFAULTS, "prompt": prompt})
        except RequestError as error:
            return error.status

    of_the_host = answer(f"{PROMPT} \ud800")
    ours = answer(f"{PROMPT} <lora:{files.both}:1:lbw=\ud800>")
    webui.notes.append(
        f"half of a surrogate pair in a prompt: this host answers {of_the_host}, in a tag of ours {ours}"
    )
    if isinstance(of_the_host, Answer):
        assert isinstance(ours, Answer)
        assert files.both in ours.warnings
    assert same(webui.render(PROMPT, fresh=True), none)
