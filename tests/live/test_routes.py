"""The routes under `/lbw/v1`, beside pictures that are rendered one by one."""

from __future__ import annotations

import time

import pytest

from .conftest import Files
from .test_analyzer import percent, tag
from .webui import DEFAULTS, WebUI

pytestmark = pytest.mark.live
FIELDS = ("seed", "steps", "width", "height", "cfg_scale", "sampler_name")


def test_an_analysis_as_a_job_gives_the_percentages_of_pictures_rendered_alone(
    webui: WebUI, files: Files, places: dict[str, str]
) -> None:
    blocks, name = [places["going in"], places["last"]], files.mapped["ldm"]
    question = {field: DEFAULTS[field] for field in FIELDS}
    job = webui.call("/lbw/v1/analyze", {"prompt": tag(name, "XYZ"), "blocks": ",".join(blocks), **question})
    while job["state"] in ("waiting", "running"):
        time.sleep(0.5)
        job = webui.call(f"/lbw/v1/analyze/{job['id']}", method="GET")
    assert (job["state"], job["error"]) == ("done", "")
    result = webui.call(f"/lbw/v1/analyze/{job['id']}/result", method="GET")
    source = webui.render(tag(name, "1"))
    for entry in result["blocks"]:
        changed = webui.render(tag(name, f"1,{entry['block']}=0"))
        assert entry["percent"] == [pytest.approx(percent([source.picture], [changed.picture]))], entry["block"]
    assert [entry["block"] for entry in result["blocks"]] == blocks
