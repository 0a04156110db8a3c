"""Credentials, required exactly when the host requires them.

Those of `--api-auth`, as for the host's API, or a login of `--gradio-auth`, as for its page; either is enough if both
are set, and none are needed if the host needs none.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from secrets import compare_digest

from fastapi import FastAPI, HTTPException, Request


def guard(app: FastAPI, api_auth: str | None) -> Callable[[Request], None]:
    """Return a function that accepts a request or raises HTTPException 401.

    api_auth: the host's `--api-auth`, `user:password`, several separated by commas.
    """
    accounts = dict(account.partition(":")[::2] for account in (api_auth or "").split(",") if account)

    def check(request: Request) -> None:
        page_is_guarded = getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None) is not None
        if not accounts and not page_is_guarded:
            return
        if accounts and _is_account(request.headers.get("Authorization", ""), accounts):
            return
        if page_is_guarded and _is_logged_in(app, request):
            return
        # Scripts of the page show the reason themselves; otherwise the browser asks for the credentials.
        asks = accounts and "X-Requested-With" not in request.headers
        headers = {"WWW-Authenticate": "Basic"} if asks else None
        raise HTTPException(401, "Incorrect username or password" if accounts else "Not authenticated", headers)

    return check


def _is_account(header: str, accounts: dict[str, str]) -> bool:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = base64.b64decode(token, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    expected = accounts.get(user)
    return expected is not None and compare_digest(password.encode(), expected.encode())


def _is_logged_in(app: FastAPI, request: Request) -> bool:
    """Ask Gradio itself who sent the request: the names of its cookies differ from version to version."""
    for route in app.routes:
        endpoint = getattr(route, "endpoint", None)
        if getattr(endpoint, "__name__", "") == "get_current_user":
            return endpoint(request) is not None  # type: ignore[misc]
    return False
