"""The studio's page with the bundled model, presets and results in a folder; the tests run it in a separate process."""

from __future__ import annotations

import sys
from pathlib import Path

from lbw.hosts.standalone import Library, StandaloneHost, load_pipeline
from lbw.studio.commands import DEMO_LORAS, DEMO_MODEL
from lbw.studio.page import build
from lbw.studio.renderer import PictureRenderer
from lbw.studio.server import head, serve
from lbw.studio.store import StudioPresets


def main(port: int, folder: Path, language: str) -> None:
    """Serve the page in `language`, English if it is empty."""
    maker = PictureRenderer(StandaloneHost(load_pipeline(DEMO_MODEL, "cpu"), Library(DEMO_LORAS)), {}, {}, DEMO_MODEL)
    app = build(maker, True, StudioPresets(folder), head(language or None), folder / "out", folder / "cells")
    serve(app, port, opens_browser=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
