"""The standalone host on the bundled model: the laws, and that only what changed is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from lbw.analysis.request import PictureRequest  # noqa: E402
from lbw.core.errors import FileError, HostError  # noqa: E402
from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import parse_tag  # noqa: E402
from lbw.hosts import layers  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost, pipeline_modules  # noqa: E402
from lbw.studio.renderer import PictureRenderer  # noqa: E402

from .conftest import DEMO  # noqa: E402

PROMPT = "a large red star on a white background, flat style"


def weights(host: StandaloneHost) -> dict[str, Any]:
    return {name: module.weight.detach().clone() for name, module in pipeline_modules(host.pipeline)}


def apply(host: StandaloneHost, *tags: str) -> list[str]:
    return host.apply([resolve_request(parse_tag(tag, {}), host.architecture, {}, {}) for tag in tags])


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def picture(maker: PictureRenderer, prompt: str, **more: Any) -> Any:
    asked = {"seed": 1, "width": 64, "height": 64, "steps": 4, "cfg_scale": 4.0, **more}
    return np.asarray(maker.render(PictureRequest(prompt, **asked)).image)


def test_the_bundled_model_has_every_block_of_the_layouts_12_and_20(host: StandaloneHost) -> None:
    from lbw.core.blocks import locate

    assert host.architecture.name == "sdxl"
    assert {locate(name, host.architecture).block for name, _ in pipeline_modules(host.pipeline)} == set(
        host.architecture.layouts[20]
    )


@pytest.mark.parametrize("name", ["subject", "style", "planted"])
def test_all_zeros_are_the_base_weights_bit_for_bit(host: StandaloneHost, name: str) -> None:
    base = weights(host)
    apply(host, f"<lora:{name}:1>")
    assert not same(base, weights(host))
    apply(host, f"<lora:{name}:1:lbw=0>")
    assert same(base, weights(host))


def test_all_ones_are_the_plain_tag(host: StandaloneHost) -> None:
    apply(host, "<lora:style:0.7>")
    plain = weights(host)
    apply(host, "<lora:style:0.7:lbw=1>")
    assert same(plain, weights(host))


def test_weights_are_linear_and_two_tags_add(host: StandaloneHost) -> None:
    base = weights(host)
    apply(host, "<lora:style:1>")
    whole = weights(host)
    apply(host, ["<lora:style:0.25", "lora:subject:1:lbw=0>"][0] + ">", "<lora:style:0.5>")
    part = weights(host)
    for name in base:
        torch.testing.assert_close(part[name] - base[name], 0.75 * (whole[name] - base[name]), atol=2e-6, rtol=1e-4)


def test_one_block_changes_the_tensors_of_that_block_alone(host: StandaloneHost) -> None:
    from lbw.core.blocks import locate

    apply(host, "<lora:style:1:lbw=1>")
    before, count = weights(host), host.merged_tensors
    apply(host, "<lora:style:1:lbw=1,IN04=0.5>")
    after = weights(host)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {locate(name, host.architecture).block for name in changed} == {"IN04"}
    assert host.merged_tensors - count == len(changed)
    apply(host, "<lora:style:1:lbw=1,IN04=0.5>")
    assert host.merged_tensors - count == len(changed)


def test_merged_weights_are_base_plus_up_times_down(host: StandaloneHost) -> None:
    from safetensors.torch import load_file

    base = weights(host)
    apply(host, "<lora:planted:0.8:lbw=0.5,IN05=0.25>")
    merged = weights(host)
    tensors = load_file(host.library.find("planted"))
    name = "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q"
    up, down = tensors[f"{name}.lora_up.weight"].float(), tensors[f"{name}.lora_down.weight"].float()
    alpha = float(tensors[f"{name}.alpha"])
    layer = "unet.down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"
    torch.testing.assert_close(merged[layer], base[layer] + 0.8 * 0.25 * alpha / up.shape[1] * (up @ down))


def test_a_failure_in_between_leaves_the_base_weights(host: StandaloneHost, monkeypatch: pytest.MonkeyPatch) -> None:
    base = weights(host)
    calls = []
    real = layers.delta

    def fails_later(parameters: Any, weight: Any) -> Any:
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(parameters, weight)

    monkeypatch.setattr(layers, "delta", fails_later)
    with pytest.raises(KeyboardInterrupt):
        apply(host, "<lora:style:1>")
    assert same(base, weights(host))


@pytest.mark.parametrize(
    ("fails_at", "restores", "error"), [(1, 0, KeyboardInterrupt), (20, 5, MemoryError), (60, 1, KeyboardInterrupt)]
)
def test_after_failures_of_a_merge_and_of_its_recovery_every_plan_is_right(
    host: StandaloneHost, monkeypatch: pytest.MonkeyPatch, fails_at: int, restores: int, error: type[BaseException]
) -> None:
    base = weights(host)
    apply(host, "<lora:subject:1>")
    earlier = weights(host)
    merges, restored = [0], [0]
    real, real_restore = layers.delta, layers.Layer.restore

    def delta(parameters: Any, weight: Any) -> Any:
        merges[0] += 1
        if merges[0] == fails_at:
            raise error
        return real(parameters, weight)

    def restore(layer: layers.Layer) -> None:
        restored[0] += merges[0] >= fails_at
        if restored[0] in range(restores + 1, restores + 3):
            layer.parameter.data.zero_()
            raise error
        real_restore(layer)

    with monkeypatch.context() as patch:
        patch.setattr(layers, "delta", delta)
        patch.setattr(layers.Layer, "restore", restore)
        with pytest.raises(error):
            apply(host, "<lora:style:1>")
    assert restored[0] > restores
    apply(host, "<lora:subject:1>")
    assert same(earlier, weights(host))
    apply(host)
    assert same(base, weights(host))


def copied(source: Path, target: Path) -> None:
    """Write `source` over `target` as `cp` does: into the same file."""
    with target.open("r+b") as file:
        file.write(source.read_bytes())
        file.truncate()


def renamed(source: Path, target: Path) -> None:
    """Replace `target` by a copy of `source` as `mv` does, with a time stamp that is no later."""
    state = target.stat()
    shutil.copy(source, target.with_suffix(".new"))
    os.utime(target.with_suffix(".new"), ns=(state.st_atime_ns, state.st_mtime_ns))
    target.with_suffix(".new").replace(target)


@pytest.mark.parametrize("replaced", [copied, renamed])
def test_a_lora_that_was_replaced_is_applied_anew_with_the_same_tag(
    pipeline: Any, tmp_path: Path, replaced: Callable[[Path, Path], None]
) -> None:
    for name in ("style", "subject"):
        shutil.copy(DEMO / "loras" / f"{name}.safetensors", tmp_path)
    shutil.copy(tmp_path / "style.safetensors", tmp_path / "mine.safetensors")
    host = StandaloneHost(pipeline, Library(tmp_path))
    base = weights(host)
    try:
        apply(host, "<lora:mine:1:lbw=1,IN04=0.5>")
        encoder = host.encoder_state()
        replaced(tmp_path / "subject.safetensors", tmp_path / "mine.safetensors")
        apply(host, "<lora:mine:1:lbw=1,IN04=0.5>")
        after = weights(host)
        assert encoder != host.encoder_state()  # what a text was encoded to is not used again
        apply(host, "<lora:subject:1:lbw=1,IN04=0.5>")
        assert same(after, weights(host))
    finally:
        host.restore()
    assert same(base, weights(host))


def test_a_file_that_is_cut_short_while_it_is_kept_harms_nothing(pipeline: Any, tmp_path: Path) -> None:
    shutil.copy(DEMO / "loras" / "style.safetensors", tmp_path / "mine.safetensors")
    host = StandaloneHost(pipeline, Library(tmp_path))
    try:
        apply(host, "<lora:mine:1>")
        kept = host.library.load(tmp_path / "mine.safetensors", host.architecture).modules
        sums = [float(tensor.float().sum()) for own in kept.values() for tensor in own.values()]
        with (tmp_path / "mine.safetensors").open("r+b") as file:
            file.write(bytes((tmp_path / "mine.safetensors").stat().st_size))
        assert sums == [float(tensor.float().sum()) for own in kept.values() for tensor in own.values()]
        with pytest.raises(FileError, match=r"mine\.safetensors"):
            apply(host, "<lora:mine:0.5>")
    finally:
        host.restore()


def test_a_file_that_is_replaced_while_it_is_applied_is_told(
    pipeline: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.safetensors"
    shutil.copy(DEMO / "loras" / "style.safetensors", mine)
    host = StandaloneHost(pipeline, Library(tmp_path))
    base = weights(host)
    real = layers.delta

    def delta(parameters: Any, weight: Any) -> Any:
        renamed(DEMO / "loras" / "subject.safetensors", mine)
        return real(parameters, weight)

    with monkeypatch.context() as patch:
        patch.setattr(layers, "delta", delta)
        with pytest.raises(FileError, match=r"mine\.safetensors was replaced while it was being applied"):
            apply(host, "<lora:mine:1>")
    assert same(base, weights(host))


def test_a_lora_that_is_not_there_is_named(host: StandaloneHost) -> None:
    (problem,) = apply(host, "<lora:../secret:1>", "<lora:style:1>")
    assert "../secret" in problem
    assert "not found" in problem


def test_stop_at_the_first_step_is_the_picture_without_the_denoisers_part(maker: PictureRenderer) -> None:
    without = picture(maker, PROMPT)
    assert np.array_equal(picture(maker, f"{PROMPT} <lora:planted:1:stop=1>"), without)
    late = picture(maker, f"{PROMPT} <lora:planted:1:start=3>")
    whole = picture(maker, f"{PROMPT} <lora:planted:1>")
    assert not np.array_equal(late, without)
    assert not np.array_equal(late, whole)
    assert np.array_equal(picture(maker, f"{PROMPT} <lora:planted:1:start=1>"), whole)
    assert np.array_equal(picture(maker, PROMPT), without)


def test_the_infotext_carries_the_numbers(maker: PictureRenderer) -> None:
    asked = PictureRequest(f"{PROMPT} <lora:style:1:lbw=0,OUT01=R>", seed=1, width=64, height=64, steps=1)
    made = maker.render(asked)
    assert "Size: 64x64" in made.infotext
    again = maker.render(asked)
    assert "LBW: " in made.infotext
    assert made.infotext == again.infotext


def test_a_module_of_the_wrong_shape_is_our_error(host: StandaloneHost, tmp_path: Any) -> None:
    from safetensors.torch import save_file

    from lbw.hosts.standalone import Library

    name = "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q"
    save_file({f"{name}.lora_up.weight": torch.ones(3, 2), f"{name}.lora_down.weight": torch.ones(2, 5)}, tmp_path / "bad.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})  # fmt: skip # noqa: E501
    base = weights(host)
    host.library = Library(tmp_path)
    with pytest.raises(FileError, match="does not fit"):
        apply(host, "<lora:bad:1>")
    assert same(base, weights(host))


QUERY = "unet.down_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q"


def with_one_module(host: StandaloneHost, folder: Any, number: float) -> None:
    """Let the host find a LoRA "one" of one module, whose ΔW is number² everywhere."""
    from safetensors.torch import save_file

    from lbw.hosts.standalone import Library

    rows, columns = weights(host)[QUERY].shape
    name = "lora_unet_input_blocks_5_1_transformer_blocks_0_attn1_to_q"
    up, down = torch.full((rows, 1), number), torch.full((1, columns), number)
    tensors = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
    save_file(tensors, folder / "one.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    host.library = Library(folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 3e38])
def test_nan_and_infinity_of_a_file_never_reach_the_model(number: float, host: StandaloneHost, tmp_path: Any) -> None:
    base = weights(host)
    with_one_module(host, tmp_path, number)
    with pytest.raises(FileError, match=r"NaN|not finite"):
        apply(host, "<lora:one:1>")
    assert same(base, weights(host))


def test_a_strength_that_the_weights_cannot_hold_is_refused_and_leaves_the_base(
    host: StandaloneHost, tmp_path: Any
) -> None:
    base = weights(host)
    with_one_module(host, tmp_path, 1e19)
    apply(host, "<lora:one:1>")
    assert weights(host)[QUERY].isfinite().all()
    with pytest.raises(HostError, match="float32 cannot represent it"):
        apply(host, "<lora:one:9>")
    assert same(base, weights(host))


def test_the_last_four_files_stay_in_memory_and_no_more(tmp_path: Path) -> None:
    for place in range(6):
        shutil.copy(DEMO / "loras" / "style.safetensors", tmp_path / f"{place}.safetensors")
    library = Library(tmp_path)
    opened = [library.load(tmp_path / f"{place}.safetensors") for place in range(4)]
    assert [library.load(tmp_path / f"{place}.safetensors") is opened[place] for place in range(4)] == [True] * 4
    library.load(tmp_path / "0.safetensors")
    library.load(tmp_path / "4.safetensors")
    assert library.load(tmp_path / "0.safetensors") is opened[0]
    assert library.load(tmp_path / "1.safetensors") is not opened[1]
