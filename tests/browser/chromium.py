"""The browser of these tests: the system's Chromium or Chrome, else the one that Playwright has fetched."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium was found: apt-get install chromium (Debian), or python -m playwright install chromium"


def path(playwright: Any) -> str | None:
    """Return the browser's file; None if there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    own = playwright.chromium.executable_path
    return found or (own if Path(own).exists() else None)


if __name__ == "__main__":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        if path(started) is None:
            sys.exit(f"The browser tests are skipped: {MISSING}")
