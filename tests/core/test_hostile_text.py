"""Text crafted to keep a program busy, or to be misread: reported at once, and correctly.

The time that these take would be seconds to hours with patterns that match a text in several ways; a limit of CPU time
is set by the process, not measured by a clock.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lbw.core.architectures import ARCHITECTURES
from lbw.core.errors import PresetError, WeightsError
from lbw.core.presets import check_name, parse_presets
from lbw.core.selectors import select
from lbw.core.tag import parse_items, parse_tag, unclosed_tag
from lbw.core.weights import parse_block_weights

ROOT = Path(__file__).parents[2]
SD1 = ARCHITECTURES["sd1"]
ONES = "1" * 12_000

HOSTILE = {
    "a long number that is none": f"parse_tag('<lora:n:1:lbw={ONES}x>', {{}})",
    "a long strength that is none": f"parse_tag('<lora:n:{ONES}x:lbw=0>', {{}})",
    "a long rank that is none": f"parse_tag('<lora:n:1:1:{ONES}x:lbw=0>', {{}})",
    "a preset line of one long number": f"check_presets('A:{ONES}x')",
    "a preset file of many": f"check_presets('A:1{ONES[:400]}x\\n' * 500)",
    "presets of many blocks that no model has": (
        "check_presets('\\n'.join(f'P{n}:' + ','.join(f'N{n}-{m}=1' for m in range(1_600)) for n in range(50)))"
    ),
    "an id of many zeros": "refused(lambda: select('A' + '0' * 200_000 + 'x', SD1))",
    "a range of spaces": "expand('-' + ' ' * 30_000 + 'x')",
    "a range of numbers": "expand('1' * 30_000 + '-' + '1' * 30_000 + '(+' + '1' * 30_000 + 'x')",
    "tags that never end": "list(find_tags('<lora:' * 200_000))",
    "entries that never end": "find_entries('<' * 500_000)",
    "block weights of a megabyte": "refused(lambda: parse_block_weights('1,' * 500_000).resolve(SD1, {}))",
    "a name of many prefixes": "locate('model_' * 80 + 'x', SD1)",
    "a name of many blocks": "detect_lora({f'layers_{n}_' * 30: (1, 1) for n in range(2_000)})",
    "a layout of many digits": "refused(lambda: choose('9' * 5_000 + 'ALL', SD1, ()))",
}
PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from lbw.analysis.cells import choose
from lbw.analysis.ranges import expand
from lbw.core.architectures import ARCHITECTURES
from lbw.core.blocks import locate
from lbw.core.detect import detect_lora
from lbw.core.errors import LbwError
from lbw.core.preset_check import check_presets
from lbw.core.selectors import select
from lbw.core.tag import find_entries, find_tags, parse_tag
from lbw.core.weights import parse_block_weights
SD1 = ARCHITECTURES["sd1"]
def refused(call):
    try:
        call()
    except LbwError:
        return
    raise AssertionError("nothing was refused")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of CPU time is a thing of POSIX")
def test_hostile_text_takes_no_time() -> None:
    program = PROGRAM + "\n".join(HOSTILE.values())
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ["²ALL", "١٢ALL", "9" * 5000 + "ALL"])
def test_a_layout_that_is_called_by_no_number_is_refused(text: str) -> None:
    from lbw.analysis.cells import choose

    with pytest.raises(WeightsError):
        choose(text, SD1, ())


# The positional form ---------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["OUT00=1", "OUT00=1,IN04-IN08=0.5", "out0=R", "BASE=0.5,D=1"])
def test_a_third_item_that_reads_as_block_weights_is_block_weights(weights: str) -> None:
    request = parse_tag(f"<lora:n:0.7:{weights}>", {})
    assert (request.te, request.unet, request.weights, request.problems) == (0.7, 0.7, weights, ())


@pytest.mark.parametrize("item", ["te=0.5", "unet=1", "dyn=4", "foo=1", "OUT00=high", "hr=OUT00"])
def test_a_third_item_that_is_a_key_stays_the_hosts(item: str) -> None:
    request = parse_tag(f"<lora:n:0.7:{item}>", {})
    assert request.weights is None
    assert item in request.host_items


# Likely slips ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "near"), [("strat=3", "start"), ("lwb=MIDD", "lbw"), ("stpo=3", "stop"), ("unt=1", "unet")]
)
def test_a_key_that_looks_like_a_known_one_is_told_and_left_to_the_host(item: str, near: str) -> None:
    request = parse_tag(f"<lora:n:1:lbw=0:{item}>", {})
    (remark,) = request.remarks
    assert f"did you mean {near}=?" in remark
    assert item in request.host_items
    assert request.problems == ()


@pytest.mark.parametrize("item", ["te=0.5", "hires=1", "x=0.5"])
def test_a_key_that_looks_like_none_is_not_spoken_of(item: str) -> None:
    assert parse_tag(f"<lora:n:1:lbw=0:{item}>", {}).remarks == ()


def test_our_keys_are_read_in_any_case() -> None:
    request = parse_tag("<lora:n:1:LBW=MIDD:Start=2:STOP=5>", {})
    assert (request.weights, str(request.span.start), str(request.span.stop)) == ("MIDD", "2", "5")


def test_of_a_key_that_stands_twice_the_last_counts_and_it_is_told() -> None:
    request = parse_tag("<lora:n:1:lbw=MIDD:lbw=ALL>", {})
    assert request.weights == "ALL"
    assert "more than once" in request.remarks[0]


@pytest.mark.parametrize("prompt", ["a <lora:n:1:lbw=MIDD", "a <lora:m:1> b <lyco:n:1:lbw=0,OUT00=1 and more"])
def test_a_tag_that_is_not_closed_is_told(prompt: str) -> None:
    assert "is not closed" in (unclosed_tag(prompt) or "")


@pytest.mark.parametrize("prompt", ["", "a cat", "a <lora:n:1:lbw=MIDD>", "1 < 2", "<lora:n:1> <3"])
def test_closed_tags_and_other_brackets_are_not_spoken_of(prompt: str) -> None:
    assert unclosed_tag(prompt) is None


def test_a_tag_that_the_next_one_closes_is_told() -> None:
    request = parse_items(["a", "1", "lbw=MIDD <lora", "b", "1"], {})
    assert any("not closed" in remark for remark in request.remarks)


# Sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1e30", "-1e4", "1001", "X"])
def test_a_weight_past_a_sane_size_is_told_with_its_block(value: str) -> None:
    with pytest.raises(WeightsError, match=r"block IN04 is out of range; weights go from -1000 to 1000"):
        parse_block_weights(f"0,IN04={value}").resolve(SD1, {}, x=1e5)


def test_an_x_past_a_sane_size_is_told() -> None:
    (problem,) = parse_tag("<lora:n:1:lbw=X:x=1e9>", {}).problems
    assert "out of range" in str(problem)


def test_a_tag_that_is_too_long_is_told_and_applied_without_block_weights() -> None:
    request = parse_items(["n", "1", "lbw=" + "1," * 20_000], {})
    assert request.weights is None
    assert "the limit is 20,000" in str(request.problems[0])


# Presets -----------------------------------------------------------------------------------------


def test_a_mark_of_byte_order_is_a_part_of_no_name() -> None:
    with pytest.raises(PresetError, match="ufeff"):
        check_name("\ufeffMINE")
    assert list(parse_presets("\ufeffMINE:1\n").presets) == ["MINE"]


def test_a_selector_of_another_model_is_refused_whatever_its_length() -> None:
    with pytest.raises(WeightsError, match="unknown block"):
        select("IN" + "0" * 50_000 + "99", SD1)
