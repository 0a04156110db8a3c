"""What belongs to one generation: whose options it has, and what it leaves to others, whichever way it ends."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hosts.doubles_model import same
from hosts.doubles_webui import Interrupted, Processing, parse

from lbw.webui import generation, messages
from lbw.webui.options import RequestOptions

TAG = "<lora:a:1:lbw=0,OUT11=0.5,BASE=1>"
MINE = "<lora:a:1:lbw=MINE>"
MINE_IS = RequestOptions(presets={"MINE": "0,OUT11=0.5,BASE=1"})
MINE_IS_OTHER = RequestOptions(presets={"MINE": "0,IN04=0.25"})
OFF = RequestOptions(enabled=False)
PREDECESSOR = SimpleNamespace(scripts=[SimpleNamespace(filename="/e/scripts/lora_block_weight.py")])
OTHERS = SimpleNamespace(scripts=[])


def nest(world: Any, work: Callable[[], Any] = lambda: None, options: RequestOptions | None = None) -> Processing:
    """Run a generation, nested in what runs, that does `work`; without `options` the script is not among its own."""
    p = Processing(world)

    def begun() -> None:
        if options is not None:
            world.call_script(p, options)
        work()

    p.run(begun)
    return p


def entry(world: Any, prompt: str = MINE, options: RequestOptions | None = None) -> str | None:
    """Return what a generation of `prompt`, nested in what runs, was made with, as its infotext tells it."""
    p = Processing(world)

    def work() -> None:
        if options is not None:
            world.call_script(p, options)
        world.activate(p, parse(prompt))

    p.run(work)
    return p.extra_generation_params.get("LBW")


@pytest.fixture
def known(world: Any) -> SimpleNamespace:
    """What `MINE` is made with by each of the two options, and without either."""
    return SimpleNamespace(
        mine=entry(world, options=MINE_IS), other=entry(world, options=MINE_IS_OTHER), invalid=entry(world)
    )


# A nested generation -----------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["", "<lora:b:1:lbw=MIDD:start=2>", "<lora:a:1:lbw=0>"])
def test_a_nested_generation_has_its_own_loras_and_leaves_the_outer_ones(world: Any, inner: str) -> None:
    first, second = world.paint(TAG).weights, world.paint(inner).passes[0]

    def nested() -> None:
        world.activate(p, parse(inner))
        world.condition(parse(inner))
        calls = world.sample(4, p=p).calls
        assert [same(a, b) for a, b in zip(calls, second.calls)] == [True] * 4
        assert ("LBW" in p.extra_generation_params) == bool(inner)

    def batches() -> None:
        for _ in range(2):
            world.activate(outer, parse(TAG))
            world.condition(parse(TAG))
            assert same(world.sample(4, p=outer).weights, first)
            p.run(nested)

    outer, p = Processing(world), Processing(world, steps=4)
    outer.run(batches)


def test_a_nested_generation_takes_the_presets_of_the_request_around_it(world: Any, known: Any) -> None:
    found = []
    nest(world, lambda: found.append(entry(world)), MINE_IS)
    assert found == [known.mine]


def test_a_nested_generation_with_the_script_has_its_own_presets(world: Any, known: Any) -> None:
    found = []
    nest(world, lambda: found.extend([entry(world, options=MINE_IS_OTHER), entry(world)]), MINE_IS)
    assert found == [known.other, known.mine]


def test_of_three_levels_each_takes_what_the_next_one_around_it_says(world: Any, known: Any) -> None:
    found: list[str | None] = []

    def middle() -> None:
        found.append(entry(world))
        nest(world, lambda: nest(world, lambda: found.append(entry(world))), MINE_IS_OTHER)
        found.append(entry(world))

    nest(world, lambda: nest(world, middle), MINE_IS)
    assert found == [known.mine, known.other, known.mine]


def test_a_generation_nested_in_one_that_is_off_is_off_too_until_that_ends(world: Any) -> None:
    found = []
    nest(world, lambda: found.append(entry(world, TAG)), OFF)
    assert [*found, entry(world, TAG)] == [None, f"<a:lbw=1,{'0,' * 24}0.5>"]


def test_a_generation_that_is_on_may_be_nested_in_one_that_is_off(world: Any, known: Any) -> None:
    found = []
    nest(world, lambda: found.append(entry(world, options=MINE_IS)), OFF)
    assert found == [known.mine]


def test_a_generation_of_its_own_does_not_take_what_the_last_one_said(world: Any) -> None:
    meant = world.paint(TAG).weights
    world.paint(TAG, options=OFF)
    panel = Processing(world)  # such as the tab's, which has no scripts
    panel.run(lambda: (world.activate(panel, parse(TAG)), world.condition(parse(TAG))))
    assert same(world.sample(4, p=panel).weights, meant)
    assert panel.comments == []


# The other extension -----------------------------------------------------------------------------


def test_a_generation_that_the_other_extension_handles_is_left_alone_and_so_are_nested_ones(world: Any) -> None:
    world.opts.lbw_with_predecessor = "the other extension"
    outer, nested = Processing(world, scripts=PREDECESSOR), Processing(world, scripts=OTHERS)

    def work(p: Processing, then: Callable[[], Any]) -> None:
        data = parse("<lora:a:1:lbw=NOPE>")
        world.activate(p, data)
        assert data["lora"][0].items == ["a", "1", "lbw=NOPE"]
        assert (p.comments, p.extra_generation_params) == ([], {})
        then()

    def begun() -> None:
        world.call_script(outer, RequestOptions())
        work(outer, lambda: nested.run(lambda: work(nested, lambda: None)))

    outer.run(begun)
    later = Processing(world, scripts=OTHERS)
    later.run(lambda: world.activate(later, parse(TAG)))
    assert "LBW" in later.extra_generation_params


# One that fails ----------------------------------------------------------------------------------


class Stopped(BaseException):
    """What ends a generation without being an error."""


@pytest.mark.parametrize("kind", [Interrupted, Stopped])
def test_a_generation_that_failed_leaves_nothing_to_the_next(world: Any, known: Any, kind: type[BaseException]) -> None:
    def fail() -> None:
        raise kind

    with pytest.raises(kind):
        nest(world, fail, MINE_IS)
    assert entry(world) == known.invalid
    with pytest.raises(kind):
        nest(world, fail, OFF)
    assert entry(world, TAG) is not None


def test_a_nested_generation_that_failed_leaves_nothing_to_the_one_after_it(world: Any, known: Any) -> None:
    found = []

    def fail() -> None:
        raise Interrupted

    def detailer() -> None:
        with pytest.raises(Interrupted):  # a detailer swallows it, and continues with the next face
            nest(world, fail, MINE_IS_OTHER)
        found.append(entry(world))

    nest(world, detailer, MINE_IS)
    assert found == [known.mine]


def test_a_nested_generation_ends_with_the_outer_one_that_failed(world: Any, known: Any) -> None:
    def fail() -> None:
        nest(world, lambda: (_ for _ in ()).throw(Interrupted), MINE_IS_OTHER)

    with pytest.raises(Interrupted):
        nest(world, fail, MINE_IS)
    assert entry(world) == known.invalid


def test_a_generation_is_gone_with_the_request_that_it_belonged_to(world: Any) -> None:
    p = nest(world, options=MINE_IS)
    left = weakref.ref(generation.own(p))
    del p
    gc.collect()
    assert left() is None


# Copies, and calls of the scripts without a generation -------------------------------------------


def test_a_detailer_may_call_the_scripts_with_copies_that_never_run(world: Any, known: Any) -> None:
    """One does around its own generations: first their last callback, then their first."""
    found = []

    def detailer() -> None:
        messages.answer(copy.copy(outer), SimpleNamespace(extra_generation_params=outer.extra_generation_params))
        found.append(entry(world))
        world.call_script(copy.copy(outer), MINE_IS_OTHER)
        found.append(entry(world))
        world.activate(outer, parse(MINE))

    outer = Processing(world)
    outer.run(lambda: (world.call_script(outer, MINE_IS), detailer()))
    assert [*found, outer.extra_generation_params["LBW"]] == [known.mine] * 3


def test_a_copy_of_a_generation_that_runs_is_nested_in_it(world: Any, known: Any) -> None:
    outer = Processing(world)
    copies = []

    def work() -> None:
        world.call_script(outer, MINE_IS)
        copied = copy.copy(outer)
        copied.extra_generation_params = {}
        copied.run(lambda: world.activate(copied, parse(MINE)))
        copies.append(copied)

    outer.run(work)
    assert copies[0].extra_generation_params["LBW"] == known.mine
    assert generation.of(copies[0]).parent is generation.of(outer)


def test_a_nested_generation_that_shares_its_infotext_gives_it_back(world: Any, known: Any) -> None:
    def work() -> None:
        world.call_script(outer, MINE_IS)
        world.activate(outer, parse(MINE))
        for prompt in ("", "<lora:b:1:lbw=0.5>"):
            nested = copy.copy(outer)
            nested.run(lambda nested=nested, prompt=prompt: world.activate(nested, parse(prompt)))
            assert outer.extra_generation_params == {"LBW": known.mine}

    outer = Processing(world)
    outer.run(work)


def test_a_request_that_runs_again_begins_anew(world: Any, known: Any) -> None:
    p = Processing(world)
    p.run(lambda: (world.call_script(p, MINE_IS), world.activate(p, parse("<lora:a:1:lbw=NOPE>"))))
    p.run(lambda: world.activate(p, parse("<lora:a:1:lbw=NOPE>")))
    assert len(p.comments) == 2
    p.run(lambda: world.activate(p, parse(MINE)))
    assert p.extra_generation_params["LBW"] == known.invalid


# More than one at a time -------------------------------------------------------------------------


def test_generations_of_two_threads_that_overlap_are_not_nested_in_each_other(a1111: Any) -> None:
    mine, other, invalid = (entry(a1111, options=options) for options in (MINE_IS, MINE_IS_OTHER, None))
    assert len({mine, other, invalid}) == 3
    begun, over = threading.Event(), threading.Event()
    found = []

    def second() -> None:
        begun.wait(10)

        def work() -> None:
            found.append(entry(a1111))
            over.set()
            first.join(10)
            found.append(entry(a1111))  # the one that began before it has ended

        nest(a1111, work, MINE_IS_OTHER)
        found.append(entry(a1111))

    first = threading.Thread(target=lambda: nest(a1111, lambda: (begun.set(), over.wait(10)), MINE_IS))
    last = threading.Thread(target=second)
    for thread in (first, last):
        thread.start()
    for thread in (first, last):
        thread.join(20)
    assert found == [other, other, invalid]


def test_the_denoiser_of_one_generation_switches_no_lora_of_another(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = []

    def work() -> None:
        world.activate(outer, parse("<lora:a:1:start=3>"))
        world.condition(parse("<lora:a:1:start=3>"))
        monkeypatch.setattr(world.hook.host, "switch", switched.append)
        entry(world, "<lora:b:1:start=2>")
        world.sample(4, p=outer)
        assert switched == []
        world.activate(outer, parse("<lora:a:1:start=3>"))
        world.sample(4, p=outer)

    outer = Processing(world)
    outer.run(work)
    assert [lora.request.name for (lora,) in switched] == ["a"]
