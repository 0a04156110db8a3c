"""Where the WebUI is, and the random LoRAs that the tests put into its folder.

LBW_WEBUI_URL     address of a running WebUI with --api, e.g. http://127.0.0.1:7861
LBW_LORA_DIR      the LoRA folder that this WebUI reads
LBW_CHECKPOINT    the checkpoint that it has loaded (safetensors, original names): SD 1 or SDXL; or, for test_models.py
                  alone, one of its diffusion transformers
LBW_TIMEOUT       seconds to wait for one request, by default 900
LBW_SIZE          width and height of the pictures, by default 64

A checkpoint of random weights will do, and a small one makes it quick: an SD 1 whose U-Net is 320 wide at every level,
with a small decoder, takes a second a picture on two cores. Any picture that is not blank can show what a tag does.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import loras
from .checkpoint import Checkpoint
from .loras import LoraFolder
from .transformer import Transformer
from .webui import Answer, WebUI

VARIABLES = ("LBW_WEBUI_URL", "LBW_LORA_DIR", "LBW_CHECKPOINT")
CLIENT = pytest.StashKey[WebUI]()
PROMPT = "a cat"
# What a block of the mapping LoRA stands for → the block, by architecture.
PLACES = {
    "text encoders and time": {"sd1": "BASE", "sdxl": "BASE"},
    "first convolution": {"sd1": "IN00", "sdxl": "IN00"},
    "downsampler": {"sd1": "IN03", "sdxl": "IN03"},
    "going in": {"sd1": "IN04", "sdxl": "IN04"},
    "middle": {"sd1": "M00", "sdxl": "M00"},
    "going out": {"sd1": "OUT03", "sdxl": "OUT01"},
    "upsampler": {"sd1": "OUT08", "sdxl": "OUT05"},
    "last": {"sd1": "OUT11", "sdxl": "OUT08"},
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: needs a running WebUI (LBW_WEBUI_URL)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let live tests take as long as they need: a picture of a real model can take minutes, and LBW_SOAK asks for many.

    Each request to the WebUI still has its own limit, LBW_TIMEOUT.
    """
    for item in items:
        if item.get_closest_marker("live"):
            item.add_marker(pytest.mark.timeout(0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    client = terminalreporter.config.stash.get(CLIENT, None)
    if client:
        terminalreporter.write_line(f"{client.rendered} pictures of {client.url}")
        for note in client.notes:
            terminalreporter.write_line(note)


@dataclass(frozen=True)
class Files:
    """Names, as tags use them, of the LoRAs in the WebUI's folder."""

    kinds: dict[str, str]
    unet: str
    both: str
    text: str
    mapped: dict[str, str]
    only: dict[str, str]
    without_attn1: str
    odd_name: str
    foreign: str


@pytest.fixture(scope="session")
def webui(request: pytest.FixtureRequest) -> WebUI:
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        pytest.skip(f"no WebUI to test: {', '.join(missing)} not set")
    client = WebUI(os.environ["LBW_WEBUI_URL"], float(os.environ.get("LBW_TIMEOUT", "900")))
    request.config.stash[CLIENT] = client
    return client


@pytest.fixture(scope="session")
def checkpoint_path(webui: WebUI) -> Path:
    path = Path(os.environ["LBW_CHECKPOINT"])
    loaded = str(webui.call("/sdapi/v1/options", method="GET").get("sd_model_checkpoint") or "")
    if loaded and path.stem not in loaded:
        pytest.exit(f"the WebUI is set to {loaded}, not to {path.name}")
    return path


@pytest.fixture(scope="session")
def checkpoint(checkpoint_path: Path) -> Checkpoint:
    if Transformer.fits(checkpoint_path):
        pytest.skip("a diffusion transformer: test_models.py is for it, the other tests for SD 1 and SDXL")
    return Checkpoint(checkpoint_path)


@pytest.fixture(scope="session")
def places(checkpoint: Checkpoint) -> dict[str, str]:
    """Block ids of this model, by what they contain."""
    return {place: ids[checkpoint.architecture] for place, ids in PLACES.items()}


@pytest.fixture(scope="session")
def files(webui: WebUI, checkpoint: Checkpoint, places: dict[str, str]) -> Iterator[Files]:
    prefix = f"lbwtest_{secrets.token_hex(2)}_"
    folder = LoraFolder(Path(os.environ["LBW_LORA_DIR"]), checkpoint, prefix)
    try:
        written = write_files(folder, list(places.values()))
        webui.call("/sdapi/v1/refresh-loras")
        yield written
    finally:
        folder.remove_all()
        webui.call("/sdapi/v1/refresh-loras")


def write_files(folder: LoraFolder, blocks: list[str]) -> Files:
    """Every LoRA of the session. Nothing is written twice under one name: hosts cache by name."""
    checkpoint = folder.checkpoint
    text = loras.text_encoder_modules(checkpoint)
    attention = loras.choose(
        checkpoint, loras.attention_blocks(checkpoint), "attn1.to_v", "attn1.to_out.0", "attn2.to_q"
    )
    every = [*text, *loras.choose(checkpoint, blocks, *MAPPED_ENDINGS)]
    in_block = {block: [m for m in every if m.block == block] for block in blocks}
    without = [m for m in every if not (m.block == "IN04" and "attn1" in m.path)]
    foreign = {
        f"lora_unet_double_blocks_0_img_attn_proj.{part}": value
        for part, value in loras.lora(loras.Maker(checkpoint, attention[0], "foreign")).items()
    }
    return Files(
        kinds={kind: folder.write(kind, kind, loras.modules_for(kind, checkpoint)) for kind in loras.KINDS},
        unet=folder.write("unet", "lora", attention, salt="unet"),
        both=folder.write("both", "lora", attention + text, salt="both"),
        text=folder.write("text", "lora", text, salt="text"),
        mapped={
            naming: folder.write(f"mapped-{naming}", "lora", every, naming, salt="mapped")
            for naming in ("ldm", "diffusers")
        },
        only={
            block: folder.write(f"only-{block}", "lora", modules, salt="mapped") for block, modules in in_block.items()
        },
        without_attn1=folder.write("without-attn1", "lora", without, salt="mapped"),
        odd_name=folder.write("it's (an) odd [näme] 猫", "lora", attention, salt="odd"),
        foreign=folder.write_tensors("foreign", foreign),
    )


MAPPED_ENDINGS = (
    "time_embed.0",
    "input_blocks.0.0",
    "0.op",
    "0.in_layers.2",
    "attn1.to_v",
    "attn2.to_q",
    "1.proj_out",
    "2.conv",
    "out.2",
)


@pytest.fixture(scope="session")
def none(webui: WebUI) -> Answer:
    """The picture without any LoRA."""
    answer = webui.render(PROMPT)
    assert answer.picture.std() > 5, "the picture without LoRA is blank: it can show nothing"
    return answer
