"""Grids and charts: every picture is there pixel for pixel, and every label is on the sheet."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lbw.analysis.cells import Cell, choose
from lbw.analysis.effective_blocks import Analysis, Sample, Settings, suggest
from lbw.analysis.fonts import font_for, line_height, missing_letters, width_of, wrap
from lbw.analysis.measure import Mask, heat_map, rectangle_mask
from lbw.analysis.sheet import Sheet, Tile, analysis_grid, bar_chart, beside, grid
from lbw.analysis.store import CellStore, Rendered
from lbw.core.architectures import ARCHITECTURES

from .doubles import Painter, same_areas

SDXL = ARCHITECTURES["sdxl"]

JAPANESE = "花嫁衣装の女の子、夕暮れの海辺にて、とても長い名前のローラ第二版"
CHINESE = "古风水墨山水画风格模型第三版,适用于风景与人物,请谨慎使用"
PORTUGUESE = "Ilustração de coração em aquarela com pássaros à beira-mar, versão não oficial"
LONG = [JAPANESE, CHINESE, PORTUGUESE, "a_file_name_without_any_spaces_" * 4]


def noise(seed: int, width: int, height: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def tile(picture: np.ndarray) -> Tile:
    return Tile(lambda: picture)


def places(picture: np.ndarray, sheet: Image.Image) -> list[tuple[int, int]]:
    """Return the position of `picture` in `sheet`, pixel for pixel, as (left, top)."""
    drawn, wanted = whole(np.asarray(sheet)), whole(picture)
    height, width = wanted.shape
    rows, columns = drawn.shape[0] - height + 1, drawn.shape[1] - width + 1
    found = np.argwhere(drawn[:rows, :columns] == wanted[0, 0])
    for y, x in np.random.default_rng(0).integers(0, (height, width), (60, 2)):  # most positions are ruled out soon
        found = found[drawn[found[:, 0] + y, found[:, 1] + x] == wanted[y, x]]
    return [(x, y) for y, x in found.tolist() if np.array_equal(drawn[y : y + height, x : x + width], wanted)]


def whole(picture: np.ndarray) -> np.ndarray:
    """Return a picture with one number for each pixel."""
    return picture.astype(np.int32) @ np.array([1, 256, 65536], np.int32)


def shows(picture: np.ndarray, sheet: Image.Image, x: int, y: int) -> bool:
    """Tell whether `picture` is in `sheet` at (x, y), pixel for pixel."""
    return np.array_equal(np.asarray(sheet)[y : y + picture.shape[0], x : x + picture.shape[1]], picture)


def place(picture: np.ndarray, sheet: Image.Image) -> tuple[int, int]:
    (found,) = places(picture, sheet)
    return found


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[tuple[int, int, int, int], str]]]:
    """Every text that is drawn, with its bounding box."""
    found: list[tuple[tuple[int, int, int, int], str]] = []
    real = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, xy: tuple[int, int], words: str, *args: object, **kwargs: object) -> None:
        if words:
            found.append((self.textbbox(xy, words, font=kwargs["font"]), words))  # type: ignore[arg-type]
        real(self, xy, words, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


# Grids -------------------------------------------------------------------------------------------


def test_every_picture_stands_in_its_row_and_column() -> None:
    pictures = [[noise(3 * row + column, 150, 130) for column in range(3)] for row in range(2)]
    made = grid([list(map(tile, row)) for row in pictures], (150, 130), ["a", "b"], ["1", "2", "3"], "head")
    found = [[place(picture, made.image) for picture in row] for row in pictures]
    lefts, tops = ({spot[axis] for row in found for spot in row} for axis in (0, 1))
    assert len(lefts) == 3
    assert len(tops) == 2
    assert found == [[(x, y) for x in sorted(lefts)] for y in sorted(tops)]
    assert min(b - a for a, b in zip(sorted(lefts), sorted(lefts)[1:])) > 150
    assert made.remark == ""


@pytest.mark.parametrize(("width", "height", "factor"), [(64, 64, 2), (60, 200, 3), (40, 32, 4), (127, 500, 2)])
def test_small_pictures_are_enlarged_by_whole_factors(width: int, height: int, factor: int) -> None:
    picture = noise(1, width, height)
    made = grid([[tile(picture)]], (width, height), ["row"], ["column"], "")
    place(picture.repeat(factor, axis=0).repeat(factor, axis=1), made.image)
    assert made.remark == ""


def test_pictures_of_128_pixels_are_not_enlarged() -> None:
    picture = noise(1, 128, 128)
    place(picture, grid([[tile(picture)]], (128, 128), ["row"], ["column"], "").image)


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (13, 4), (3, 12), (1, 1)])
def test_a_sheet_larger_than_the_limit_is_scaled_and_says_so(rows: int, columns: int) -> None:
    picture = np.full((256, 256, 3), (200, 30, 30), np.uint8)
    limit = 60_000 * (rows + 1) * (columns + 1) // 2
    tiles = [[tile(picture)] * columns] * rows
    whole = grid(tiles, (256, 256), ["IN04"] * rows, ["diff"] * columns, "head")
    made = grid(tiles, (256, 256), ["IN04"] * rows, ["diff"] * columns, "head", largest=limit)
    assert whole.remark == ""
    assert made.image.width * made.image.height <= limit
    assert made.image.width < whole.image.width
    assert "scaled to" in made.remark
    red = np.count_nonzero((np.asarray(made.image) == (200, 30, 30)).all(axis=-1)) / (rows * columns)
    share = int(made.remark.partition("scaled to ")[2].partition("%")[0]) / 100
    assert 0 < share < 1
    assert red == pytest.approx((256 * share) ** 2, rel=0.05)


@pytest.mark.parametrize(
    ("rows", "columns", "label"),
    [
        pytest.param(20, 20, "IN04", id="many pictures, of which each keeps room for its label"),
        pytest.param(13, 4, "long labels of original weights, " * 6, id="labels of many lines"),
    ],
)
def test_a_sheet_with_large_labels_stays_below_the_limit(rows: int, columns: int, label: str) -> None:
    picture = np.full((256, 256, 3), (200, 0, 0), np.uint8)
    made = grid([[tile(picture)] * columns] * rows, (256, 256), [label] * rows, [label] * columns, "", None, 1_000_000)
    assert made.image.width * made.image.height <= 1_000_000
    drawn = np.asarray(made.image).astype(int)
    red = np.count_nonzero(drawn[..., 0] - drawn[..., 1] > 100) / (rows * columns)  # at the edges: half of it or more
    share = int(made.remark.partition("scaled to ")[2].partition("%")[0]) / 100
    assert share == pytest.approx(red**0.5 / 256, abs=0.012)


@pytest.mark.parametrize("label", LONG)
def test_long_labels_stay_on_the_sheet_and_lose_no_letter(
    label: str, written: list[tuple[tuple[int, int, int, int], str]]
) -> None:
    picture = np.full((64, 64, 3), 99, np.uint8)
    made = grid([[tile(picture)] * 2] * 2, (64, 64), [label, "b"], [label, "2"], f"{label}\n{label * 3}")
    for (left, top, right, bottom), words in written:
        assert left >= 0, words
        assert top >= 0, words
        assert right <= made.image.width, words
        assert bottom <= made.image.height, words
    letters = "".join(words for _, words in written).replace(" ", "")
    assert sorted(letters) == sorted((label * 6 + "b2").replace(" ", ""))


@pytest.mark.parametrize("label", LONG)
def test_labels_and_pictures_do_not_cover_each_other(label: str) -> None:
    pictures = [noise(n, 128, 128) for n in range(4)]
    tiles = [[tile(pictures[0]), tile(pictures[1])], [tile(pictures[2]), tile(pictures[3])]]
    image = grid(tiles, (128, 128), [label, label], [label, label], label).image
    assert len({place(picture, image) for picture in pictures}) == 4


@pytest.mark.parametrize(("side", "size"), [(64, 14), (256, 28), (400, 40), (300, 33)])
def test_letters_are_a_ninth_of_a_picture_between_12_and_40(
    side: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = set()
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, words, ink, font: used.add(font.size))
    grid([[tile(noise(1, side, side))]], (side, side), ["row"], ["column"], "head")
    assert used == {size}


def test_a_column_is_labelled_above_the_middle_of_its_pictures_and_a_row_from_their_top_at_the_left(
    written: list[tuple[tuple[int, int, int, int], str]],
) -> None:
    pictures = [[noise(2 * row + column, 200, 200) for column in range(2)] for row in range(2)]
    rows, columns = ["first\nrow", "second"], ["1", "two\nlines"]
    made = grid([list(map(tile, row)) for row in pictures], (200, 200), rows, columns, "head\nof two lines")
    boxes = {words: box for box, words in written}
    assert list(boxes) == ["head", "of two lines", "1", "two", "lines", "first", "row", "second"]
    for upper, lower in (("head", "of two lines"), ("of two lines", "1"), ("two", "lines"), ("first", "row")):
        assert boxes[upper][3] <= boxes[lower][1]
    for words, picture in (("1", pictures[0][0]), ("two", pictures[0][1]), ("lines", pictures[0][1])):
        left, top = place(picture, made.image)
        assert (boxes[words][0] + boxes[words][2]) / 2 == pytest.approx(left + 100, abs=3)
        assert boxes[words][3] <= top
    for words, picture in (("first", pictures[0][0]), ("second", pictures[1][0])):
        left, top = place(picture, made.image)
        assert boxes[words][2] < left
        assert top <= boxes[words][1] < top + 22  # its letters are as high


def test_a_failed_tile_shows_words_in_place_of_a_picture(
    written: list[tuple[tuple[int, int, int, int], str]],
) -> None:
    def never() -> np.ndarray:
        raise AssertionError("a failed tile has nothing to load")

    picture = noise(1, 200, 200)
    tiles = [
        [tile(picture), Tile(never, "RuntimeError: out of memory while rendering")],
        [Tile(lambda: None), tile(picture)],
    ]
    made = grid(tiles, (200, 200), ["a", "b"], ["1", "2"], "")
    spots = places(picture, made.image)
    assert len(spots) == 2
    (left, top), (right, bottom) = spots
    drawn = np.asarray(made.image)
    boxes = {"RuntimeError: out of memory while rendering": (right, top), "missing": (left, bottom)}
    for words, (x, y) in boxes.items():
        inside = [text for (x0, y0, x1, y1), text in written if x <= x0 and x1 <= x + 200 and y <= y0 and y1 <= y + 200]
        assert " ".join(inside) == words
        here = drawn[y : y + 200, x : x + 200]
        assert ((here[..., 0] > 120) & (here[..., 1] < 60)).sum() > 200
        assert (here == (225, 225, 225)).all(axis=-1).mean() > 0.8
        assert (here[[0, -1]] == (170, 30, 30)).all()


def test_tiles_are_loaded_one_at_a_time() -> None:
    import weakref

    made: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def load() -> np.ndarray:
        alive.append(sum(ref() is not None for ref in made))
        picture = np.zeros((128, 128, 3), np.uint8)
        made.append(weakref.ref(picture))
        return picture

    grid([[Tile(load)] * 5] * 5, (128, 128), ["r"] * 5, ["c"] * 5, "")
    assert len(alive) == 25
    assert max(alive) <= 1


def test_a_batch_stands_side_by_side() -> None:
    pictures = np.stack([noise(n, 5, 3) for n in range(3)])
    assert beside(pictures).shape == (3, 15, 3)
    for number in range(3):
        assert np.array_equal(beside(pictures)[:, 5 * number : 5 * number + 5], pictures[number])
    assert beside(pictures[0]) is not None
    assert np.array_equal(beside(pictures[0]), pictures[0])


# Lines of text -----------------------------------------------------------------------------------

texts = st.text("abc WÅgij,_-、漢字名ção.%", max_size=60)


@settings(max_examples=60)
@given(texts, st.integers(40, 300), st.sampled_from([12, 16, 28]))
def test_lines_are_no_wider_than_asked_and_lose_no_letter(text: str, width: int, size: int) -> None:
    font = font_for(text, size)
    lines = wrap(text, font, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width_of(line, font) <= width for line in lines)


@pytest.mark.parametrize("text", LONG)
@pytest.mark.parametrize("size", [12, 40])
def test_long_names_wrap(text: str, size: int) -> None:
    font = font_for(text, size)
    width = 9 * line_height(font)
    lines = wrap(text, font, width)
    assert len(lines) > 1
    assert all(width_of(line, font) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_lines_break_at_spaces_where_there_are_some() -> None:
    font = font_for("a", 16)
    text = "one two three four five six seven eight"
    lines = wrap(text, font, width_of("one two three fo", font))
    assert " ".join(lines) == text
    assert len(lines) > 2


def test_line_ends_are_kept_and_short_text_is_one_line() -> None:
    font = font_for("a", 16)
    assert wrap("IN04\nDiff : 1.000%", font, 500) == ["IN04", "Diff : 1.000%"]
    assert wrap("", font, 500) == [""]


@pytest.mark.parametrize("text", LONG)
def test_a_font_is_chosen_that_lacks_the_fewest_letters(text: str) -> None:
    plain = font_for("abc", 16)
    assert missing_letters(plain, "abc ABC\n%") == set()
    assert missing_letters(font_for(text, 16), text) <= missing_letters(plain, text)


def test_a_font_that_is_not_there_does_no_harm() -> None:
    assert width_of("abc", font_for("abc", 16, "/nowhere/font.ttf")) == width_of("abc", font_for("abc", 16))


# The analyzer's ----------------------------------------------------------------------------------

AREAS = {"IN04": 40, "IN05": 100, "OUT01": 60}
PLANTED = same_areas(**AREAS)


def analysed(
    folder: Path,
    fails: str = "",
    count: int = 1,
    mask: Mask | None = None,
    areas: Callable[[int], dict[str, int]] = PLANTED,
    painter: type[Painter] = Painter,
    **more: object,
) -> Analysis:
    chosen = tuple(choose("IN04,IN05,OUT01,M00", SDXL, ()))
    made = Analysis(
        Settings(chosen, (1, 2), **more),  # type: ignore[arg-type]
        SDXL,
        dict.fromkeys(AREAS, 1),
        CellStore(folder, {}),
        mask,
    )
    renderer = painter(areas, count)
    renderer.fails = lambda cell: bool(fails) and f",{fails}=0," in cell.weights
    for _ in made.run(renderer):
        pass
    return made


def large(picture: np.ndarray) -> np.ndarray:
    """Return a picture of 20 pixels as a grid shows it: 128 / 20, rounded up, is 7."""
    return picture.repeat(7, axis=0).repeat(7, axis=1)


def parts(made: Analysis, number: int, white: bool = False) -> list[np.ndarray]:
    """Return what a block shows: difference, heat map, changed picture, source."""
    source, changed = made.pictures(made.settings.choices[number], Sample(1))
    assert source is not None
    assert changed is not None
    before, after = source.pictures[0].astype(int), changed.pictures[0].astype(int)
    raw = np.abs(before - after).astype(np.uint8)
    heat = heat_map(source.pictures[0], changed.pictures[0])
    return [255 - raw if white else raw, heat, changed.pictures[0], source.pictures[0]]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("background", ["black", "white"])
def test_a_grid_shows_difference_heat_map_changed_picture_and_source(
    background: str, swapped: bool, tmp_path: Path
) -> None:
    made = analysed(tmp_path, diff_color=background, swap_axes=swapped)
    sheet = analysis_grid(made, Sample(1), "head").image
    heats, steps = [], set()
    for number in range(3):
        raw, heat, changed, source = map(large, parts(made, number, background == "white"))
        (x, y), (next_x, next_y) = place(heat, sheet), place(changed, sheet)
        across, down = next_x - x, next_y - y
        assert shows(raw, sheet, x - across, y - down)
        assert shows(source, sheet, x + 2 * across, y + 2 * down)
        heats.append((x, y))
        steps.add((across, down))
    ((across, down),) = steps
    lefts, tops = ([spot[axis] for spot in heats] for axis in (0, 1))
    if swapped:
        # Blocks from left to right, and for each from the bottom up.
        assert (across, len(set(tops))) == (0, 1)
        assert down < -140
        assert lefts == sorted(set(lefts))
    else:
        assert (down, len(set(lefts))) == (0, 1)
        assert across > 140
        assert tops == sorted(set(tops))


class WidePainter(Painter):
    """Paints pictures of 20 by 8 pixels."""

    def render(self, cell: Cell) -> Rendered:
        made = super().render(cell)
        return Rendered(made.pictures[:, :8], made.infotext)


def test_wide_pictures_stand_in_columns_as_wide_and_rows_as_high_as_they_are(tmp_path: Path) -> None:
    made = analysed(tmp_path, painter=WidePainter)
    sheet = analysis_grid(made, Sample(1), "head").image
    spots = []
    for number in range(2):
        heat, changed = (each.repeat(16, axis=0).repeat(16, axis=1) for each in parts(made, number)[1:3])
        spots.append((place(heat, sheet), place(changed, sheet)))
    ((left, top), (next_left, same_top)), ((_, next_top), _) = spots
    assert top == same_top
    assert 16 * 20 <= next_left - left < 16 * 20 + 20
    assert 16 * 8 <= next_top - top < 16 * 8 + 60  # and a line of the label


def test_labels_say_percentages_mean_and_deviation(
    tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]
) -> None:
    analysis_grid(analysed(tmp_path, span=(0.0, 1.0)), Sample(1), "planted, seed 1")
    captions = [words for _, words in written]
    assert [words for words in captions if words.startswith("Diff")] == [
        "Diff : 10.000%",
        "Diff : 25.000%",
        "Diff : 15.000%",
        "Diff : 0.000%",
    ]
    assert "mean 25.000% ± 0.000" in " ".join(captions)
    assert {"diff", "heat map", "block at 0", "source", "IN04", "M00", "planted, seed 1"} <= set(captions)


def test_with_a_mask_labels_say_what_changed_inside_and_outside(
    tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]
) -> None:
    # The two upper rows, 40 of 400 pixels, are IN04's; of IN05 all 100 lie below.
    analysis_grid(analysed(tmp_path, mask=rectangle_mask("0,0,100,10", 20, 20)), Sample(1), "")
    captions = " ".join(words for _, words in written)
    assert "in 100.00% out 0.00%" in captions
    assert "in 0.00% out 27.78%" in captions  # 100 of 360


def test_a_failed_block_shows_its_error(tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]) -> None:
    analysis_grid(analysed(tmp_path, fails="IN05"), Sample(1), "")
    captions = [words for _, words in written]
    assert " ".join(captions).count("RuntimeError: out of memory") == 3
    assert captions.count("no picture") == 1


def test_beside_a_failed_block_stands_its_source(tmp_path: Path) -> None:
    made = analysed(tmp_path, fails="IN05")
    sheet = analysis_grid(made, Sample(1), "").image
    source = large(parts(made, 0)[3])
    left, top = place(large(parts(made, 0)[2]), sheet)
    across = left - place(large(parts(made, 0)[1]), sheet)[0]
    down = place(large(parts(made, 2)[2]), sheet)[1] - top
    assert shows(source, sheet, left + across, top)
    assert shows(source, sheet, left + across, top + down)
    assert shows(source, sheet, left + across, top + down // 2)


def test_a_batch_is_shown_whole(tmp_path: Path) -> None:
    made = analysed(tmp_path, count=2)
    sheet = analysis_grid(made, Sample(1), "")
    changed = parts(made, 1)[2]
    place(large(np.concatenate([changed, changed], axis=1)), sheet.image)


def test_a_grid_of_nothing_is_drawn_all_the_same(tmp_path: Path) -> None:
    made = Analysis(Settings(tuple(choose("IN04", SDXL, ())), (1,)), SDXL, {"IN04": 1}, CellStore(tmp_path, {}))
    assert isinstance(analysis_grid(made, Sample(1), "stopped at once"), Sheet)


BLUE = (70, 110, 175)


def bars(chart: Image.Image) -> list[int]:
    """Return the lengths of the bars, from the top, in pixels."""
    blue = (np.asarray(chart) == BLUE).all(axis=-1)
    longest = blue.sum(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (longest > 0).astype(int), [0]])))
    return [int(longest[a:b].max()) for a, b in edges.reshape(-1, 2)]


def test_bars_are_as_long_as_their_means(tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]) -> None:
    made = analysed(tmp_path)
    chart = bar_chart(made.results, suggest(made.results, 12, 20), "head\nof two lines")
    lengths = bars(chart)
    assert lengths[1] == max(lengths)
    # 10, 25, 15 and 0 percent; the lines of the thresholds and the outline cost a pixel or two.
    assert lengths[0] / lengths[1] == pytest.approx(10 / 25, abs=0.01)
    assert lengths[2] / lengths[1] == pytest.approx(15 / 25, abs=0.01)
    assert lengths[3] <= 1
    captions = [words for _, words in written]
    assert [words for words in captions if "%" in words][1:] == [
        "10.000 %  not needed",
        "25.000 %  needed",
        "15.000 %  unknown",
        "0.000 %  not needed",
    ]
    for (left, top, right, bottom), words in written:
        assert 0 <= left <= right <= chart.width, words
        assert 0 <= top <= bottom <= chart.height, words
    boxes = {words: box for box, words in written}
    in_order = ["head", "of two lines", "0 to 25 % of the color values", "IN04", "IN05", "OUT01", "M00"]
    assert [words for words in boxes if "." not in words] == in_order
    assert all(boxes[upper][3] <= boxes[lower][1] for upper, lower in itertools.pairwise(in_order))


def test_a_long_label_ends_before_its_bar(tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]) -> None:
    names = ["IN04", "IN05", "M00", "OUT00", "IN07", "IN08", "OUT01", "OUT02", "OUT03", "OUT04", "OUT05"]
    long = ",".join(" ".join(names[start:] + names[:start]) for start in range(len(names)))
    made = Analysis(Settings(tuple(choose(long, SDXL, ())), (1,)), SDXL, AREAS, CellStore(tmp_path, {}))
    for _ in made.run(Painter(PLANTED)):
        pass
    drawn = np.asarray(bar_chart(made.results, suggest(made.results), ""))
    bar = np.argwhere((drawn == BLUE).all(axis=-1))[:, 1].min()
    ends = [right for (left, _, right, _), words in written if left < bar and words.startswith(tuple(names))]
    assert len(ends) == len(names)
    assert bar - 20 < max(ends) < bar


def test_a_chart_says_what_was_not_measured(
    tmp_path: Path, written: list[tuple[tuple[int, int, int, int], str]]
) -> None:
    made = analysed(tmp_path, fails="IN05")
    bar_chart(made.results, suggest(made.results), "")
    assert [words for _, words in written].count("not measured") == 1


def test_a_line_on_each_bar_is_as_long_as_the_deviation_on_both_sides(tmp_path: Path) -> None:
    # IN05 has 60 and 140 pixels: 25 ± 10 percent. The longest bar, with its deviation, fills the 480 pixels.
    made = analysed(tmp_path, areas=lambda seed: {"IN04": 40, "IN05": {1: 60, 2: 140}[seed], "OUT01": 60})
    drawn = np.asarray(bar_chart(made.results, suggest(made.results, 12, 20), ""))
    bar = np.argwhere((drawn == BLUE).all(axis=-1))
    left = int(bar[:, 1].min())
    height = int(bar[:, 0].max()) + 1
    ink = (drawn[:height, left : left + 484] == (20, 20, 20)).all(axis=-1)
    (rows,) = np.nonzero(ink.sum(axis=1) > 100)
    assert len(rows) == 2
    for row in rows:
        (places,) = np.nonzero(ink[row])
        assert (places[0], places[-1]) == pytest.approx((480 * 15 / 35, 480), abs=2)
        assert len(places) >= places[-1] - places[0]  # a line of the suggestion may cross it
