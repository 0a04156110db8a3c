"""Tables written out by hand: SYNTAX.md 3's layouts, and the predecessor's presets."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """Return the words of a table."""
    return text.split()


LAYOUT_12 = words("BASE IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05")
LAYOUT_17 = words("BASE IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11")
LAYOUT_20 = words(
    "BASE IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08"
)
LAYOUT_26 = words(
    "BASE IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 IN09 IN10 IN11 M00 OUT00 OUT01 OUT02 OUT03 OUT04 "
    "OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11"
)
LAYOUT_57 = words(
    "D00 D01 D02 D03 D04 D05 D06 D07 D08 D09 D10 D11 D12 D13 D14 D15 D16 D17 D18 S00 S01 S02 S03 S04 S05 "
    "S06 S07 S08 S09 S10 S11 S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S25 S26 S27 S28 S29 S30 "
    "S31 S32 S33 S34 S35 S36 S37"
)
LAYOUT_61 = ["CLIP", "T5", "IN", *LAYOUT_57, "OUT"]

UNET_LAYOUTS = {12: LAYOUT_12, 17: LAYOUT_17, 20: LAYOUT_20, 26: LAYOUT_26}
FLUX_LAYOUTS = {61: LAYOUT_61, 57: LAYOUT_57}


def ranges(text: str) -> list[str]:
    """Return the ids of `text`, as MODELS.md writes them: `TE IN D00-D04`."""
    found: list[str] = []
    for word in text.split():
        first, dash, last = word.partition("-")
        letters = first.rstrip("0123456789")
        numbers = range(int(first[len(letters) :]), int(last[len(letters) :]) + 1) if dash else ()
        found += [f"{letters}{n:02}" for n in numbers] or [word]
    return found


# MODELS.md, "Blocks and layouts".
MODELS = {
    "chroma": "T5 IN D00-D18 S00-S37 OUT",
    "flux2-klein-4b": "TE IN D00-D04 S00-S19 OUT",
    "flux2-klein-9b": "TE IN D00-D07 S00-S23 OUT",
    "flux2-dev": "TE IN D00-D07 S00-S47 OUT",
    "lumina2": "TE IN CR00 CR01 NR00 NR01 B00-B25 OUT",
    "z-image": "TE IN CR00 CR01 NR00 NR01 B00-B29 OUT",
    "anima": "TE ADP IN B00-B27 OUT",
    "anima-40": "TE ADP IN B00-B39 OUT",
    "wan-14b": "TE IN B00-B39 OUT",
    "wan-5b": "TE IN B00-B29 OUT",
    "wan-1.3b": "TE IN B00-B29 OUT",
    "qwen-image": "TE IN B00-B59 OUT",
    "krea2": "TE IN TF00-TF03 B00-B27 OUT",
    "ernie-image": "TE IN B00-B35 OUT",
    "sd3-medium": "CLIP T5 IN J00-J23 OUT",
    "sd3.5-large": "CLIP T5 IN J00-J37 OUT",
    "hidream-i1": "TE IN D00-D15 S00-S31 OUT",
    "hunyuan-image": "TE IN D00-D19 S00-S39 OUT",
    "hunyuan-video": "TE IN D00-D19 S00-S39 OUT",
    "ideogram4": "TE IN B00-B33 OUT",
}
BLOCKS = {"sd1": LAYOUT_26, "sd2": LAYOUT_26, "sdxl": LAYOUT_20, "sdxl-refiner": LAYOUT_26, "flux": LAYOUT_61}
BLOCKS |= {name: ranges(text) for name, text in MODELS.items()}

# The predecessor's default presets.
PREDECESSOR_PRESETS = {
    "NONE": "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "ALL": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
    "INS": "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "IND": "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "INALL": "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0",
    "OUTS": "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1",
    "OUTALL": "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1",
    "ALL0.5": "0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5",
    "FLUXALL": "1" + ",1" * 60,
}


def weights_of(text: str, blocks: list[str]) -> dict[str, float]:
    """Return weights by block, from the few that are not 0: `BASE=1 OUT03=0.5`."""
    weights = dict.fromkeys(blocks, 0.0)
    for item in text.split():
        block, value = item.split("=")
        weights[block] = float(value)
    return weights
