"""The browser of these tests: the system's Chromium or Chrome, else the one that Playwright has fetched."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium was found; install it (on Debian: apt-get install chromium) or run: playwright install chromium"


def path(playwright: Any) -> str | None:
    """Return the browser's file; None if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    own = playwright.chromium.executable_path
    return found or (own if Path(own).exists() else None)


def main() -> int:
    """Tell by the exit status whether there is one."""
    if importlib.util.find_spec("playwright") is None:
        return 1
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return 0 if path(playwright) else 1


if __name__ == "__main__":
    sys.exit(main())
