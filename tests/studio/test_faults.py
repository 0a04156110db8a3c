"""A failure at every operation of a merge into a pipeline: afterwards all weights are right, bit for bit.

An operation is one call into torch, as its dispatcher sees it; of a copy that fails, half is done. A MemoryError comes
while the LoRAs' files are read as well, a KeyboardInterrupt before any line of the host's own.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from lbw.core.plan import resolve_request  # noqa: E402
from lbw.core.tag import requests_in  # noqa: E402
from lbw.hosts import layers, standalone  # noqa: E402
from lbw.hosts.pipelines import pipeline_weights  # noqa: E402
from lbw.hosts.standalone import Library, StandaloneHost  # noqa: E402

from . import tiny  # noqa: E402

BEFORE = "<lora:b:0.5>"
PLAN = "<lora:a:1:lbw=0.5><lora:b:0:1>"
QKV, LAST, ENCODER = "double_blocks_0_img_attn_qkv", "single_blocks_1_linear2", "lora_te1_text_model_encoder_layers_0"
FAILURES = [RuntimeError, MemoryError, KeyboardInterrupt]
OURS = tuple(str(Path(module.__file__)) for module in (standalone, layers))
RECOVERY = 12
"""Operations of torch that a recovery takes at least."""
MOST = 2_000
"""Operations that a merge of these LoRAs may take at most; there are fewer."""


class Faults(TorchDispatchMode):
    """Fails at one operation, and perhaps at one after it.

    place: the number of the first, from 0. again: how many operations of torch after that the second is, None for none.
    """

    def __init__(self, failure: type[BaseException], place: int, again: int | None = None) -> None:
        super().__init__()
        self.failure = failure
        self.is_anywhere = failure is KeyboardInterrupt
        self.left: int | None = place
        self.again = again
        self.raised = 0

    def __enter__(self) -> Faults:
        self._traced = sys.gettrace()
        super().__enter__()
        if self.is_anywhere:
            sys.settrace(self._trace)
        return self

    def __exit__(self, *error: Any) -> None:
        sys.settrace(self._traced)
        super().__exit__(*error)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        """Trace each of the host's lines; the interpreter stops calling this once it has raised."""
        if frame.f_code.co_filename not in OURS:
            return None
        if event == "line":
            self.step()
        return self._trace

    def step(self) -> None:
        """Count an operation, and fail if it is its turn."""
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left, self.again = self.again, None
            self.raised += 1
            raise self.failure

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), more: Any = None) -> Any:
        """Do an operation of torch; of a copy that fails, half is done."""
        if self.left == 0 and function.overloadpacket is torch.ops.aten.copy_:
            target, source = arguments[:2]
            half = len(target) // 2 if target.dim() else 0
            target[:half].copy_(source[:half])
        self.step()
        return function(*arguments, **more or {})


def lora(path: Path, modules: dict[str, tuple[int, int]]) -> None:
    """Write a LoRA of rank 2 with these modules' (outputs, inputs)."""
    tensors = {}
    for name, (rows, columns) in modules.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, columns)
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 2)
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    save_file(tensors, path)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> StandaloneHost:
    """A tiny Flux, and LoRAs of a layer that is three of the pipeline's, one that is one, one of the text encoder."""
    folder = tmp_path_factory.mktemp("faults")
    torch.manual_seed(1)
    lora(folder / "a.safetensors", {f"lora_unet_{QKV}": (96, 32)})
    lora(folder / "b.safetensors", {f"lora_unet_{LAST}": (32, 160), f"{ENCODER}_mlp_fc1": (64, 32)})
    return StandaloneHost(tiny.built(tiny.flux), Library(folder))


def apply(host: StandaloneHost, prompt: str) -> None:
    host.apply([resolve_request(request, host.architecture, {}, {}) for request in requests_in(prompt, {})])


def reader(host: StandaloneHost) -> Callable[[], torch.Tensor]:
    """Return what returns a copy of all weights and biases, one after the other."""
    modules = dict.fromkeys(module for _, _, module, _ in pipeline_weights(host.pipeline))
    parameters = [parameter.detach() for module in modules for parameter in module.parameters(recurse=False)]
    return lambda: torch.cat([parameter.flatten() for parameter in parameters])


def came_to_it(host: StandaloneHost, prompt: str, faults: Faults) -> bool:
    """Apply `prompt` with `faults`; tell whether the first came."""
    with contextlib.suppress(Exception, KeyboardInterrupt), faults:  # some reach us as errors of other libraries
        apply(host, prompt)
    return faults.raised > 0


@pytest.mark.parametrize("recovery_fails", [False, True], ids=["merging", "restoring too"])
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
def test_after_a_failure_at_any_operation_all_weights_are_right(
    host: StandaloneHost, failure: type[BaseException], recovery_fails: bool
) -> None:
    weights = reader(host)
    meant = {}
    for prompt in (PLAN, BEFORE, ""):
        apply(host, prompt)
        meant[prompt] = weights()
    follows = list(meant)
    twice = 0
    for place in range(MOST):
        apply(host, BEFORE)
        if failure is MemoryError:
            host.library = Library(host.library.folder)  # which reads the files again
        faults = Faults(failure, place, place % RECOVERY if recovery_fails else None)
        if not came_to_it(host, PLAN, faults):
            break
        twice += faults.raised > 1
        prompt = follows[(place + FAILURES.index(failure)) % 3]  # another after each failure at this place
        apply(host, prompt)
        assert torch.equal(weights(), meant[prompt]), (place, prompt)
    else:
        pytest.fail(f"a merge of more than {MOST} operations")
    assert place > 100
    assert (twice > 20) == recovery_fails
