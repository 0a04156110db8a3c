"""What a request may hold, whoever's application the routes stand in: what is past it gets a 4xx at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from lbw.core.limits import BODY_BYTES

_TOO_LARGE = f"the request's body is larger than {BODY_BYTES:,} bytes, which is the most that is read"


class BoundedRequest(Request):
    """A request whose body is read up to a limit, and whose JSON holds what all other programs can read."""

    async def body(self) -> bytes:
        """Return the body.

        Raises:
            HTTPException: 413, it is too large; no more of it is kept.
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
            HTTPException: 422, it holds half a character, or a number that is none.
        """
        value = await super().json()
        if problem := _problem(value):
            raise HTTPException(422, problem)
        return value


class BoundedRoute(APIRoute):
    """A route that takes a `BoundedRequest`, and says what is wrong with one without repeating it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            try:
                return await handler(BoundedRequest(request.scope, request.receive))
            except RequestValidationError as error:
                # Not what was sent: it may be long, or nothing that an answer can hold.
                said = [{key: entry[key] for key in ("loc", "msg", "type")} for entry in error.errors()]
                return JSONResponse({"detail": said}, 422)

        return bounded


def is_text(value: str) -> bool:
    """Tell whether `value` is text that UTF-8 can hold: it has no half characters."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _problem(value: Any) -> str:
    """Return what is wrong with a value of JSON that Python's reader lets pass; empty if nothing is."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str) and not is_text(one):
            return f"a text holds half a character: {one[:40]!a}; send whole ones"
        elif isinstance(one, float) and not math.isfinite(one):
            return f"{one} is no number that can be computed with; send a finite one"
    return ""
