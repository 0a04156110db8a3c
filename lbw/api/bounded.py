"""Limits for requests, in any application that has the routes: requests beyond them get a 4xx at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lbw.core.limits import BODY_BYTES
from lbw.core.texts import t

_TOO_LARGE = t("the request body is larger than {most} bytes, the limit", most=f"{BODY_BYTES:,}")


class BoundedRequest(Request):
    """A request whose body is read up to a limit, and whose JSON must be valid for other programs too."""

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: 413, it is too large; the rest is not read.
        """
        if not hasattr(self, "_body"):
            length = self.headers.get("content-length", "")
            if length.isdecimal() and (len(length) > 20 or int(length) > BODY_BYTES):
                raise HTTPException(413, _TOO_LARGE)
            chunks, size = [], 0
            async for chunk in self.stream():
                size += len(chunk)
                if size > BODY_BYTES:
                    raise HTTPException(413, _TOO_LARGE)
                chunks.append(chunk)
            self._body = b"".join(chunks)
        return self._body

    async def json(self) -> Any:
        """Return the body's JSON.

        Raises:
            HTTPException: 422, it contains a lone surrogate or a number that is not finite.
        """
        value = await super().json()
        if problem := _problem(value):
            raise HTTPException(422, problem)
        return value


class BoundedRoute(APIRoute):
    """A route that takes a `BoundedRequest`, and reports what is wrong with it without echoing it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            try:
                return await handler(BoundedRequest(request.scope, request.receive))
            except RequestValidationError as error:
                # Without the input: it may be long, or impossible to encode in the response.
                detail = [{key: entry[key] for key in ("loc", "msg", "type")} for entry in error.errors()]
                return JSONResponse({"detail": detail}, 422)

        return bounded


def is_text(value: str) -> bool:
    """Return whether `value` is text that UTF-8 can encode, without lone surrogates."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _problem(value: Any) -> str:
    """Return what is wrong with a JSON value that Python's parser accepts; empty if nothing is."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str) and not is_text(one):
            return t("a text contains half of a surrogate pair: {text}; send valid Unicode", text=ascii(one[:40]))
        elif isinstance(one, float) and not math.isfinite(one):
            return t("{number} is not a finite number", number=one)
    return ""
