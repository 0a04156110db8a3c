"""The sessions of a server, one after the other, and the analyses of earlier days, found again in their folders."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lbw.core.errors import FileError, HostError
from lbw.core.limits import ANALYSES
from lbw.core.texts import t

from .analysis_session import AnalysisSession
from .request import RANDOM, AnalysisRequest, PictureRequest, PlotRequest
from .session import DONE, FAILED, RUNNING, STOPPED, WAITING, Host, Prepared, Session, run_order

KEPT = 20
"""Ended sessions that a server remembers; those with a folder are found there afterwards."""
LISTED = 200
"""Earlier analyses that are listed, the latest first."""
REPORT = "analysis.json"
_LARGEST = 50_000_000
"""Bytes of a report that is read, and above all that a report counts."""


class SessionHost(Host, Protocol):
    """A host that keeps results in a folder."""

    def output(self) -> Path | None:
        """Return below which folder results go; None where none are kept."""


class Sessions:
    """The sessions of one host: one runs at a time, the others wait for their turn."""

    def __init__(self, host: SessionHost) -> None:
        self.host = host
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def latest(self) -> AnalysisSession | None:
        """The analysis that was started or opened last."""
        with self._lock:
            return next((s for s in reversed(self._sessions.values()) if isinstance(s, AnalysisSession)), None)

    def start(self, request: PictureRequest) -> Session:
        """Begin an analysis or a plot in a thread of its own, and return it.

        An analysis that goes on where a stopped one ended takes its seed, where both left that to chance.

        Raises:
            HostError: too many wait already. LbwError: something in the request is wrong; there is no session then.
        """
        with self._lock:
            if sum(session.state == WAITING for session in self._sessions.values()) >= ANALYSES:
                raise HostError(
                    t("{count} analyses are already waiting; stop one of them, or try again later", count=ANALYSES)
                )
        session: Session
        if isinstance(request, PlotRequest):
            from .plot_session import PlotSession  # here, because few need it

            session = PlotSession(self.host, request)
        else:
            assert isinstance(request, AnalysisRequest)
            session = AnalysisSession(self.host, going_on(request, self.latest))
            session.asked = request
        self._add(session)
        self._begin(session)
        return session

    def get(self, key: str) -> Session | None:
        """Return the session of an id: one of this server, or one of an earlier day; None if there is none.

        Raises:
            LbwError: the LoRA or the model of an earlier one does not exist, or its report is not valid.
        """
        with self._lock:
            known = self._sessions.get(key)
        if known is not None:
            return known
        found = find_earlier(self.host.output(), key)
        return None if found is None else found.session(self.host)

    def show(self, session: AnalysisSession) -> AnalysisSession:
        """Make `session` the latest, and return it."""
        with self._lock:
            self._sessions.pop(session.id, None)
        self._add(session)
        return session

    def earlier(self) -> list[Earlier]:
        """Return the analyses that have a report, the latest first."""
        return list(earlier(self.host.output()))

    def _begin(self, session: Session) -> None:
        """Let `session` run when it is its turn."""
        session.start(self._turn)

    def _add(self, session: Session) -> None:
        with self._lock:
            self._sessions[session.id] = session
            ended = [key for key, old in self._sessions.items() if old.state not in (WAITING, RUNNING)]
            for key in ended[: max(0, len(ended) - KEPT)]:
                del self._sessions[key]


def going_on(request: AnalysisRequest, before: AnalysisSession | None) -> AnalysisRequest:
    """Return `request`, its random seed replaced by that of `before`, if that asked the same and was stopped."""
    if before is None or before.state != STOPPED or request.seed != RANDOM or request.is_quick:
        return request
    asked = replace(before.asked, needed=request.needed, not_needed=request.not_needed)  # they change no picture
    is_same = request == asked and (request.mask is None) == (asked.mask is None)
    return replace(request, seed=before.request.seed) if is_same else request


# Earlier analyses --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Earlier:
    """An analysis that has a report: its folder, and what the report says."""

    folder: Path
    report: dict[str, Any]

    @property
    def id(self) -> str:
        """The folder's name: date, LoRA and seed."""
        return self.folder.name

    @property
    def lora(self) -> str:
        """The name of the LoRA."""
        return str(self.report["settings"].get("lora", ""))

    @property
    def prompt(self) -> str:
        """The prompt, with the tag."""
        return str(self.report["request"].get("prompt", ""))

    def session(self, host: Host) -> AnalysisSession:
        """Return it as a session that has ended; its pictures are there as far as their cells are still kept.

        Raises:
            LbwError: its LoRA or its model does not exist, or the report is not valid.
        """
        try:
            asked = {name: self.report["request"].get(name) for name in AnalysisRequest.options()}
            request = AnalysisRequest.read({**asked, "fresh": False})
            session = AnalysisSession(_Elsewhere(host), request)
            session.take_report(self.folder, self.report)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise FileError(t("{path} is not valid: {reason}", path=self.folder / REPORT, reason=error)) from error
        return session


@dataclass(frozen=True)
class _Elsewhere:
    """A host whose sessions make no folder: theirs is there already."""

    host: Host

    def prepare(self, *arguments: Any) -> Prepared:
        return replace(self.host.prepare(*arguments), output=None)


def earlier(output: Path | None) -> Iterator[Earlier]:
    """Yield the analyses below `output` that have a report which can be read, the latest first."""
    found = map(_read, sorted(_inside(output), key=lambda folder: run_order(folder.name), reverse=True))
    yield from itertools.islice((one for one in found if one is not None), LISTED)


def find_earlier(output: Path | None, key: str) -> Earlier | None:
    """Return the analysis whose id is `key`: the folder of that name directly in `output`; None if there is none."""
    # Compared with the names that are there, and never made a part of a path: `key` comes from anybody.
    return next((_read(folder) for folder in _inside(output) if folder.name == key), None)


def _inside(output: Path | None) -> list[Path]:
    """Return what lies directly in `output`, if it is there."""
    try:
        return [] if output is None else list(output.iterdir())
    except OSError:
        return []


def _read(folder: Path) -> Earlier | None:
    """Return the analysis of `folder`; None where it has no report that can be read."""
    path = folder / REPORT
    try:
        if path.stat().st_size > _LARGEST:
            return None
        report = json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_json)
    except (OSError, ValueError, RecursionError):
        return None
    return Earlier(folder, report) if _is_report(report) else None


def _is_report(report: Any) -> bool:
    """Tell whether what a file holds can be listed as an analysis."""
    if not isinstance(report, dict):
        return False
    kinds = {"settings": dict, "request": dict, "blocks": list, "ranking": list, "grids": list}
    if not all(isinstance(report.get(name), kind) for name, kind in kinds.items()):
        return False
    if report.get("state") not in (DONE, STOPPED, FAILED) or not all(isinstance(b, dict) for b in report["blocks"]):
        return False
    ranked = [block.get("block") for block in report["blocks"] if _is_figure(block.get("mean"))]
    return all(isinstance(label, str) and label in ranked for label in report["ranking"])


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < _LARGEST


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")
