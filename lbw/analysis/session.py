"""A run, from a request to figures and files, whichever face asked for it: what analyses and plots have in common.

A session runs in the thread that calls `run`, or in one of its own after `start`; it may be watched and stopped from
any thread. What it found stays in a folder of its own, from which `lbw.analysis.sessions` opens it again.
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

from PIL import Image

from lbw.core.errors import FileError, LbwError
from lbw.core.family import Architecture
from lbw.core.tag import LoraRequest
from lbw.core.texts import t

from .noise_scan import Probe
from .png import write_png
from .request import PictureRequest
from .runner import CellRenderer, StoppedError
from .sheet import Sheet
from .store import CellStore, forget_oldest

Show = Callable[[int, int, "float | None"], None]
"""Told how far something is: pictures that are done, pictures in all, seconds left or None."""

WAITING, RUNNING, DONE, STOPPED, FAILED = "waiting", "running", "done", "stopped", "failed"
INFO, WARNING, ERROR = "info", "warning", "error"

GUESS = t("Unknown model: its blocks are numbered according to the names of its tensors, which is a guess.")
"""Said wherever blocks of such a model are shown."""
NOT_DRAWN = t("Stopped before all grids were drawn.")


class Drawn(NamedTuple):
    """A grid in full size, its infotext, and where it was written; None where it was not."""

    image: Image.Image
    infotext: str
    path: Path | None


class Message(NamedTuple):
    """What a session has to say, and how grave it is."""

    text: str
    level: str = INFO

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Prepared:
    """What a host makes ready for a request; nothing is rendered yet.

    seed: of the first source, drawn where the request leaves it to chance. seed_step: from one source's seed to the
    next. tensors: how many the LoRAs have in each block. presets: what axes may name. store: where finished cells are
    kept. probe: what a quick scan asks in place of the renderer. sampling: how pictures are sampled, in words. output:
    below which folder the results go; None to keep none. about: what else the report says. font: of the grids; None
    for the one that comes with the program. stopped: whether the host was told to stop, where it is not the session
    that is told.
    """

    seed: int
    architecture: Architecture
    tensors: Mapping[str, int]
    presets: Mapping[str, str]
    store: CellStore
    renderer: CellRenderer
    probe: Probe | None
    sampling: str
    output: Path | None
    seed_step: int = 1
    about: Mapping[str, Any] = field(default_factory=dict)
    font: str | None = None
    stopped: Callable[[], bool] = lambda: False


class Host(Protocol):
    """What renders for a session."""

    def prepare(
        self, request: PictureRequest, loras: Sequence[LoraRequest], show: Show, stopped: Callable[[], bool]
    ) -> Prepared:
        """Return what is needed to render the cells of `request`.

        loras: the requests of its prompt whose block weights the cells set. show: is told how far it is. stopped: is
        asked before each picture.

        Raises:
            LbwError: something in the request is wrong; nothing was rendered.
        """


class Session:
    """One run. What it holds is for reading; the thread that runs it writes it.

    asked: the request as it was made; `request` has the seed that was drawn. done, total: pictures. version: grows
    with each finished picture. files: what was written. over: set at the end. grids: all that were drawn, in full
    size, where somebody has set `keeps_grids`.
    """

    name = "session"
    keeps_grids = False

    def __init__(self, host: Host, request: PictureRequest, loras: Sequence[LoraRequest]) -> None:
        """Prepare a run.

        Raises:
            LbwError: something in the request is wrong; nothing was rendered.
        """
        request.check()
        self.state = WAITING
        self.done = self.total = self.version = 0
        self.messages: list[Message] = []
        self.files: list[Path] = []
        self.grids: list[Drawn] = []
        self.over = threading.Event()
        self._seconds_left: float | None = None
        self._told = 0.0
        self._stop = threading.Event()
        self._stops = 0
        self._beginning = threading.Lock()
        self.asked = request
        self.loras = tuple(loras)
        self.prepared = host.prepare(request, loras, self._show, self._stop.is_set)
        self.request = replace(request, seed=self.prepared.seed)
        self._plan()
        self.id, self.folder = self._place()
        forget_oldest(self.prepared.store.folder.parent)
        if getattr(request, "fresh", False):
            self.prepared.store.forget()
        if self.prepared.architecture.family.is_guess:
            self.messages.append(Message(GUESS, WARNING))

    # For everybody -------------------------------------------------------------------------------

    @property
    def lora(self) -> str:
        """The names of the LoRAs that are looked at."""
        return ", ".join(lora.name for lora in self.loras)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last picture is there; None where that is not known."""
        left = self._seconds_left
        return None if left is None else max(0.0, left - (time.monotonic() - self._told))

    @property
    def is_stopping(self) -> bool:
        """Whether somebody has stopped it."""
        return self._stop.is_set()

    @property
    def outcome(self) -> str:
        """The state in which it ends, or has ended, for the files that are written last."""
        return DONE if self.state == RUNNING else self.state

    def stop(self) -> None:
        """Let it end before the next picture; one that waits never begins.

        The grids of what is there are drawn all the same; only a stop while they are drawn ends that too.
        """
        with self._beginning:
            self._stops += 1
            self._stop.set()
            if self.state == WAITING:
                self.state = STOPPED

    def start(self, turn: threading.Lock) -> None:
        """Run in a thread of its own, when `turn` is free."""

        def run() -> None:
            with turn:
                self.run()

        threading.Thread(target=run, name=f"lbw {self.name}", daemon=True).start()

    def run(self) -> None:
        """Render what is missing, and write what was found; errors become messages."""
        try:
            with self._beginning:
                if self._stop.is_set():
                    raise StoppedError
                self.state = RUNNING
            self._work()
            self.state = self.outcome
        except StoppedError:
            self.state = STOPPED
            self._say_stopped()
        except LbwError as error:
            self._fail(str(error))
        except KeyboardInterrupt:
            self.state = STOPPED
            raise
        except Exception as error:  # whatever the host raises: who asked is told
            self._fail(t("It ended early: {error}", error=f"{type(error).__name__}: {error}"))
        finally:
            self._seconds_left = None
            if self.folder is not None and not self.files:
                with suppress(OSError):  # not empty: somebody has put something there
                    self.folder.rmdir()
            self.over.set()

    def say(self, text: str, level: str = INFO) -> None:
        """Add a message, once."""
        if Message(text, level) not in self.messages:
            self.messages.append(Message(text, level))

    # For each kind of session --------------------------------------------------------------------

    def _plan(self) -> None:
        """Make of the request what there is to do, before anything is written or deleted for it.

        Raises:
            LbwError: something in the request is wrong.
        """
        raise NotImplementedError

    def _work(self) -> None:
        """Render what is missing, and write what was found."""
        raise NotImplementedError

    def _write_grids(self, check: Callable[[], None]) -> None:
        """Write all grids in full size. check: is called before each tile; raises StoppedError."""
        raise NotImplementedError

    def _say_stopped(self) -> None:
        self.say(t("Stopped before anything was rendered."), WARNING)

    def _fail(self, text: str) -> None:
        self.state = FAILED
        self.say(text, ERROR)

    def _show(self, done: int, total: int, seconds_left: float | None) -> None:
        self._seconds_left, self._told = seconds_left, time.monotonic()
        self.progress(done, total, seconds_left)

    progress: Callable[[int, int, float | None], None] = staticmethod(lambda done, total, seconds_left: None)
    """Told how far it is, beside what the host shows by itself."""

    def _place(self) -> tuple[str, Path | None]:
        """Return the session's id, and its folder, new and empty; nothing is ever overwritten."""
        name = f"{time.strftime('%Y-%m-%d-%H%M%S')}-{file_name(self.loras[0].name)}-seed{self.request.seed}"
        output = self.prepared.output
        if output is None:
            return f"{name}-{token_hex(4)}", None
        for number in itertools.count(1):
            folder = output / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                if not output.is_dir():
                    break
                continue
            except OSError as error:
                self.say(
                    t("The results cannot be saved: {error}", error=f"{output}: {error.strerror or error}"), WARNING
                )
                break
            return folder.name, folder.absolute()
        return f"{name}-{token_hex(4)}", None

    def _save(self, write: Callable[[Path], None], *names: str) -> bool:
        """Let `write` write the files `names` into the session's folder, if it has one; what goes wrong is told."""
        if self.folder is None:
            return False
        try:
            write(self.folder)
        except FileError as error:
            self.say(t("Not saved: {error}", error=error), ERROR)
            return False
        self.files = list(dict.fromkeys([*self.files, *(self.folder / name for name in names)]))
        return True

    def _draw_grids(self) -> None:
        """Write all grids, unless it is stopped meanwhile: then it ends as stopped, with those that are written."""
        is_complete = self.state == RUNNING
        stops = 0 if is_complete else self._stops  # the stop that ended the rendering does not count

        def check() -> None:
            if self._stops > stops or (is_complete and self.prepared.stopped()):
                raise StoppedError

        try:
            self._write_grids(check)
        except StoppedError:
            self.state = STOPPED if self.state == RUNNING else self.state
            self.say(NOT_DRAWN, WARNING)
            self.say(t("Run the same settings again to continue."), WARNING)

    def _save_grid(self, sheet: Sheet, infotext: str, name: str) -> None:
        """Write a grid, and keep it where that is wanted."""
        if sheet.remark:
            self.say(sheet.remark, WARNING)
        is_saved = self._save(lambda folder: write_png(sheet.image, infotext, folder / name), name)
        if self.keeps_grids:
            self.grids.append(Drawn(sheet.image, infotext, self.folder / name if is_saved and self.folder else None))


def run_order(folder_name: str) -> tuple[str, int]:
    """Return what sorts the names that `Session` gives to folders: by date, and runs of one second by their number."""
    match = re.fullmatch(r"(.*-seed[0-9]+)-([0-9]{1,9})", folder_name, re.DOTALL)
    return (match[1], int(match[2])) if match else (folder_name, 1)


def file_name(text: str) -> str:
    """Return `text` as a part of a file's name that every system takes."""
    return "".join(sign if sign.isalnum() or sign in "-_ ." else "_" for sign in text).strip(" .")[:80] or "lora"
