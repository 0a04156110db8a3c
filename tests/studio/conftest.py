"""The bundled model, loaded once; skipped where the studio's libraries or the model are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo"


@pytest.fixture(scope="session")
def pipeline():  # type: ignore[no-untyped-def]
    pytest.importorskip("diffusers")
    from lbw.hosts.standalone import load_pipeline

    return load_pipeline(DEMO / "model", "cpu")


@pytest.fixture
def host(pipeline):  # type: ignore[no-untyped-def]
    from lbw.hosts.standalone import Library, StandaloneHost

    made = StandaloneHost(pipeline, Library(DEMO / "loras"))
    yield made
    made.restore()


@pytest.fixture
def maker(host):  # type: ignore[no-untyped-def]
    from lbw.studio.renderer import PictureRenderer

    return PictureRenderer(host, {}, {})
