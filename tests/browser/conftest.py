"""A browser, and each Gradio in turn, for the tests of this folder; those of what is not installed are skipped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import chromium, server


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        path = chromium.path(playwright)
        if path is None:
            pytest.skip(chromium.MISSING)
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="package", params=server.pythons(), ids=lambda path: path.parent.parent.name)
def python(request: pytest.FixtureRequest) -> Path:
    """A Python with each Gradio in turn."""
    path: Path = request.param
    if not path.exists():
        pytest.skip(f"there is no {path}; python run.py test makes it")
    return path


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens pages that cannot reach other machines; none may raise an error or open a dialog."""
    pages = []
    wrong: list[str] = []

    def opened(address: str, width: int = 1300, height: int = 1000, **window: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height}, **window)
        pages.append(page)
        page.set_default_timeout(60_000)
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append("a dialog"), dialog.dismiss()))
        page.goto(address)
        return page

    yield opened
    for page in pages:
        page.close()
    assert wrong == []
