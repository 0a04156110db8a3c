"""Chroma: Flux.1 with its modulation computed by one layer outside of the blocks (Neo's `backend/nn/chroma.py`).

With diffusers' names its LoRAs look like those of Flux.1 unless they contain that layer.
"""

from __future__ import annotations

from ..family import Family, Renamed, Size, Stack
from ..trainers import AiToolkit, LyCORIS
from .flux import DOUBLE, FLUX, FUSED, RATIOS, SD_SCRIPTS, SINGLE, WIDTH_AT

_COUNTS = {"D": 19, "S": 38}
_OUTSIDE = {"x_embedder": "img_in", "context_embedder": "txt_in", "proj_out": "final_layer.linear"} | {
    f"distilled_guidance_layer.layers.{n}.{theirs}": f"distilled_guidance_layer.layers.{n}.{ours}"
    for n in range(5)
    for theirs, ours in (("linear_1", "in_layer"), ("linear_2", "out_layer"))
}

CHROMA = Family(
    name="chroma",
    title="Chroma",
    released="2025-03",
    order=("T5", "IN", "D*", "S*", "OUT"),
    stacks=(Stack("D", "double_blocks", DOUBLE), Stack("S", "single_blocks", SINGLE)),
    outside={"IN": "img_in txt_in distilled_guidance_layer", "OUT": "final_layer.linear"},
    sizes=(Size("chroma", "Chroma", _COUNTS, 3072),),
    encoders={"t5": "T5"},
    renamed=(
        *(
            Renamed(
                renamed.path,
                renamed.original,
                {theirs: ours for theirs, ours in renamed.modules.items() if not ours.endswith(".lin")},
            )
            for renamed in FLUX.renamed
            if renamed.path
        ),
        Renamed("", "", _OUTSIDE),
    ),
    fused=FUSED,
    host_encoders=("t5xxl",),
    width_at=WIDTH_AT,
    ratios=RATIOS,
    metadata=r"chroma(?!_radiance)",
    tells=r"distilled_guidance_layer",
    trainers=(SD_SCRIPTS, AiToolkit(), LyCORIS()),
    # People reuse lists for Flux.1; the number for CLIP has no effect here.
    layouts={61: ("CLIP", "T5", "IN", *(f"D{n:02}" for n in range(19)), *(f"S{n:02}" for n in range(38)), "OUT")},
    pipeline=("ChromaPipeline", "ChromaImg2ImgPipeline"),
)
