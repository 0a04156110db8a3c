"""What the standalone host answers: which LoRAs are there, what they change, what the model's own weights are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from lbw.core.architectures import ARCHITECTURES  # noqa: E402
from lbw.core.blocks import locate  # noqa: E402
from lbw.core.errors import FileError  # noqa: E402
from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import parse_tag  # noqa: E402
from lbw.files.lora import open_lora  # noqa: E402
from lbw.hosts import standalone  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost, pipeline_modules  # noqa: E402

from .conftest import DEMO  # noqa: E402

STYLE = DEMO / "loras" / "style.safetensors"


def apply(host: StandaloneHost, *tags: str) -> list[str]:
    return host.apply([resolve_request(parse_tag(tag, {}), host.architecture, {}, {}) for tag in tags])


# Files -------------------------------------------------------------------------------------------


def test_loras_of_subfolders_are_found_by_name_and_of_two_the_first_by_path(tmp_path: Path) -> None:
    for name in ("z/Deep/one.safetensors", "b/two.safetensors", "a/two.safetensors", "three.safetensors", "four.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    library = Library(tmp_path)
    assert library.names() == ["one", "three", "two"]
    assert library.find("one") == tmp_path / "z/Deep/one.safetensors"
    assert library.find("two") == tmp_path / "a/two.safetensors"
    assert library.find("b/two.safetensors") == tmp_path / "a/two.safetensors"
    assert library.find("four") is None


def test_a_file_is_read_once_for_each_model_that_it_is_opened_for(tmp_path: Path) -> None:
    mine = Path(shutil.copy(STYLE, tmp_path))
    library, sdxl = Library(tmp_path), ARCHITECTURES["sdxl"]
    alone, loaded = library.load(mine), library.load(mine, sdxl)
    assert alone is not loaded
    assert library.load(mine) is alone
    assert library.load(mine, sdxl) is loaded


# What a LoRA changes -----------------------------------------------------------------------------

LAYER = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
MODULE = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"  # the same name in SD 1.x and SDXL


def of_modules(host: StandaloneHost, folder: Path, *modules: str) -> None:
    """Let the host find a LoRA "one" of these modules, without metadata."""
    rows, columns = dict(pipeline_modules(host.pipeline))[LAYER].weight.shape
    factors = {"lora_up.weight": torch.ones(rows, 2), "lora_down.weight": torch.ones(2, columns)}
    tensors = {f"{module}.{name}": factor.clone() for module in modules for name, factor in factors.items()}
    save_file(tensors, folder / "one.safetensors")
    host.library = Library(folder)


def test_a_lora_whose_names_fit_several_models_is_taken_for_the_loaded_one_and_read_once(
    host: StandaloneHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    monkeypatch.setattr(standalone, "open_lora", lambda *given: reads.append(given) or open_lora(*given))
    of_modules(host, tmp_path, MODULE)
    before = {name: module.weight.detach().clone() for name, module in pipeline_modules(host.pipeline)}
    assert host.tensors("one") == {"IN04": 1}
    assert apply(host, "<lora:one:0.5>") == []
    after = {name: module.weight for name, module in pipeline_modules(host.pipeline)}
    assert [name for name in after if not torch.equal(before[name], after[name])] == [LAYER]
    assert len(reads) == 1


def test_a_lora_of_another_family_changes_nothing_even_where_names_are_the_same(
    host: StandaloneHost, tmp_path: Path
) -> None:
    of_modules(host, tmp_path, MODULE, MODULE.replace("_4_1_", "_1_1_"))  # SDXL has no attention in IN01
    assert host.tensors("one") == {}
    (said,) = apply(host, "<lora:one:1>")
    assert "SD 1.x" in said
    assert "SDXL" in said
    assert host.merged_tensors == 0


def test_the_tensors_that_a_lora_changes_are_counted_by_block(host: StandaloneHost) -> None:
    # Twelve modules in each of the three attentions that the LoRA was trained in, and none elsewhere.
    assert host.tensors("planted") == {"IN05": 12, "OUT03": 12, "OUT04": 12}
    assert host.tensors("subject")["BASE"] == 24


def test_a_lora_that_is_not_there_cannot_be_counted_and_those_that_are_there_are_named(
    host: StandaloneHost, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=r'"nothing" was not found in .*loras, which has .*planted, style'):
        host.tensors("nothing")
    host.library = Library(tmp_path)
    with pytest.raises(FileError, match="which has none"):
        host.tensors("nothing")


def test_the_state_of_the_text_encoders_is_that_of_what_is_merged_into_them(host: StandaloneHost) -> None:
    def state(*tags: str) -> tuple[object, ...]:
        apply(host, *tags)
        return host.encoder_state()

    assert state() == ()
    both = state("<lora:style:1>", "<lora:subject:0.5>")
    assert len(both) == 24
    assert state("<lora:style:1:lbw=1,IN04=0.5>", "<lora:subject:0.5:lbw=1,OUT=0>") == both
    assert state("<lora:style:1:lbw=1,BASE=0.5>", "<lora:subject:0.5>") != both
    assert state("<lora:planted:1>") == ()
    assert state("<lora:style:1>") != both
    assert state("<lora:style:1>", "<lora:subject:0.5>") == both  # also where layers come in another order


def test_the_base_weight_of_a_module_stays_that_of_the_model(host: StandaloneHost) -> None:
    before: dict[str, Any] = {name: module.weight.detach().clone() for name, module in pipeline_modules(host.pipeline)}
    apply(host, "<lora:style:1>")
    after = {name: module.weight for name, module in pipeline_modules(host.pipeline)}
    names = {
        "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q":
            "unet.down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q",
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": "text_encoder.text_model.encoder.layers.0.mlp.fc1",
    }  # fmt: skip
    for module, layer in names.items():
        found = host.base_weight(locate(module, host.architecture))
        assert found is not None
        assert torch.equal(found, before[layer])
        assert not torch.equal(found, after[layer])
    site = locate("lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q", host.architecture)
    assert host.base_weight(site._replace(path=f"{site.path}_9")) is None
