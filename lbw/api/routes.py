"""Routes under `/lbw/v1`: presets, what a tag means, what a LoRA has, analyses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.responses import JSONResponse

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.cells import CHANGED, COMPLEMENT
from lbw.analysis.request import AnalysisRequest
from lbw.analysis.session import ERROR, Session
from lbw.analysis.sessions import Sessions
from lbw.core.elements import parse_elements
from lbw.core.errors import FileError, HostError, LbwError, quote
from lbw.core.family import Architecture
from lbw.core.fitting import fits
from lbw.core.preset_names import shown_names
from lbw.core.presets import parse_presets
from lbw.core.shape import shape
from lbw.core.tag import parse_tag
from lbw.core.texts import t
from lbw.files import user_presets
from lbw.files.atomic import ChangedError, version
from lbw.files.block_map import map_of_architecture, map_of_lora
from lbw.files.explain import explain, problems_without_file
from lbw.files.summary import Summaries, Summary
from lbw.files.user_presets import PresetStore

from .bounded import BoundedRoute, is_text
from .forms import (
    AnalysisForm,
    AnalysisState,
    BlockMapForm,
    Conflict,
    EarlierAnalysis,
    Explained,
    Lora,
    LoraEntry,
    MissingLora,
    Presets,
    PresetText,
    TagText,
)  # fmt: skip
from .guard import guard

PREFIX = "/lbw/v1"
FILES = {"weights": user_presets.WEIGHTS, "elements": user_presets.ELEMENTS}
PLACEHOLDERS = {CHANGED: "1", COMPLEMENT: "0"}  # as for the source of an analysis or a plot
LIST_SECONDS = 1.0  # how long one listing may spend reading new headers


class Server(Protocol):
    """What the routes need from the program that serves them."""

    @property
    def store(self) -> PresetStore:
        """The user's preset files."""

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs, by name.

        Raises:
            HostError: the host is unknown.
        """

    def loaded(self) -> Architecture | None:
        """Return the architecture of the loaded model, None if it is unknown; never loads a model."""


class Api:
    """The implementation of the routes."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.summaries = Summaries()
        self._fitting: tuple[dict[str, str], dict[str, list[str]]] = ({}, {})

    def presets(self, kind: str) -> Presets:
        """Return a preset file."""
        store, name = self.server.store, FILES[kind]
        read = version(store.folder / name)  # before the text, so that a change in between is noticed
        with answering():
            text = user_presets.read_text(store.path(name))
            presets = parse_presets(text).presets if kind == "weights" else parse_elements(text)
        return Presets(text=text, version=read, names=shown_names(presets), presets=presets)

    def save(self, kind: str, sent: PresetText) -> Presets | JSONResponse:
        """Replace a preset file, unless it has changed since the version that was sent."""
        path = self.server.store.folder / FILES[kind]
        try:
            user_presets.write_text(path, sent.text, sent.version)
        except ChangedError as error:
            now = self.presets(kind)
            conflict = {"detail": str(error), "text": now.text, "version": now.version, "yours": sent.text}
            return JSONResponse(conflict, 409)
        except user_presets.TooLargeError as error:
            raise HTTPException(413, str(error)) from error
        except FileError as error:
            raise HTTPException(500, str(error)) from error
        return self.presets(kind)

    def explain(self, sent: TagText) -> Explained | JSONResponse:
        """Return what a tag means for its LoRA file, and what is wrong with it, even if there is no such file."""
        store = self.server.store
        with answering():
            presets, elements = {**PLACEHOLDERS, **store.presets()}, store.elements()
            request = parse_tag(sent.tag, presets)
            path = self.server.find(request.name)
            if path is None:
                problems = problems_without_file(request, presets, elements, self.server.loaded())
                return JSONResponse({"detail": _missing(request.name), "problems": problems}, 404)
            report = explain(sent.tag, Path(path), presets, elements, sent.seed, self.server.loaded())
        modules: dict[str, int] = {}
        for module in report.pop("modules"):
            modules[module["block"]] = modules.get(module["block"], 0) + 1
        problems = report.pop("warnings")
        del report["problems"]  # which are among the warnings
        return Explained(**report, modules=modules, problems=problems)

    def path(self, name: str) -> str:
        """Return the file of the LoRA that the host knows by `name`.

        Raises:
            HTTPException: 404, there is none. HostError: the host is unknown.
        """
        path = self.server.find(name)
        if path is None:
            raise HTTPException(404, _missing(name))
        return path

    def loras(self) -> list[LoraEntry]:
        """Return all LoRAs; files that have not been read yet are read for at most a second, the rest are `pending`."""
        until = time.monotonic() + LIST_SECONDS
        with answering():
            files = self.server.lora_files().items()
            # A name that is not valid text cannot be in a tag.
            return [self._entry(name, path, until) for name, path in files if is_text(name)]

    def _entry(self, name: str, path: str, until: float) -> LoraEntry:
        entry = LoraEntry(name=name, architecture=None, layouts=[], blocks=[])
        if not self.summaries.knows(path) and time.monotonic() > until:
            entry.pending = True
            return entry
        try:
            summary = self.summaries.of(path, self.server.loaded())
        except FileError:
            return entry
        entry.architecture = summary.architecture.name
        entry.layouts = list(summary.architecture.layouts)
        entry.blocks = list(summary.touched)
        return entry

    def lora(self, name: str) -> Lora:
        """Return the contents of a LoRA file."""
        with answering():
            summary: Summary = self.summaries.of(self.path(name), self.server.loaded())
            fitting = self.fitting(summary.architecture)
        architecture = summary.architecture
        return Lora(
            name=name,
            architecture=architecture.name,
            title=architecture.title,
            kinds=list(summary.kinds),
            blocks=list(architecture.blocks),
            touched=list(summary.touched),
            shape=[[list(column) for column in part] for part in shape(architecture)],
            layouts={str(count): list(blocks) for count, blocks in architecture.layouts.items()},
            unlisted={str(count): weight for count, weight in architecture.unlisted.items()},
            presets=fitting,
        )

    def blocks(self, lora: str | None, architecture: str | None) -> BlockMapForm:
        """Return the map of a LoRA's blocks, or of an architecture's."""
        if (lora is None) == (architecture is None):
            raise HTTPException(422, t("pass a lora or an architecture, for example ?lora=NAME or ?architecture=flux"))
        with answering():
            if lora is not None:
                found = map_of_lora(self.path(lora), self.server.loaded())
            else:
                found = map_of_architecture(architecture or "")
        return BlockMapForm(**found.report())

    def fitting(self, architecture: Architecture) -> list[str]:
        """Return the names of the presets that a LoRA of `architecture` accepts, in the order of the file."""
        presets = self.server.store.presets()
        if self._fitting[0] != presets:
            self._fitting = (presets, {})
        known = self._fitting[1]
        if architecture.name not in known:
            known[architecture.name] = [name for name in shown_names(presets) if fits(name, architecture, presets)]
        return known[architecture.name]


def _missing(name: str) -> str:
    return t("LoRA {name} was not found", name=quote(name))


@contextmanager
def answering() -> Iterator[None]:
    """Turn our errors into responses: 503 if the host is unknown, 422 for what cannot be read or is not valid."""
    try:
        yield
    except LbwError as error:
        raise HTTPException(503 if isinstance(error, HostError) else 422, str(error)) from error


def add_routes(app: FastAPI, server: Server, api_auth: str | None, sessions: Sessions | None = None) -> None:
    """Add the routes to the host's `app`, replacing those of an earlier load.

    sessions: runs analyses; without it there are no routes for them.
    """
    app.router.routes[:] = [route for route in app.routes if not str(getattr(route, "path", "")).startswith(PREFIX)]
    api = Api(server)
    router = APIRouter(
        prefix=PREFIX,
        tags=["LoRA Block Weight"],
        dependencies=[Depends(guard(app, api_auth))],
        route_class=BoundedRoute,
    )

    @router.get("/presets", response_model=Presets, summary="The user's presets, as text and by name")
    def get_presets(kind: Literal["weights", "elements"] = "weights") -> Any:
        return api.presets(kind)

    @router.put(
        "/presets",
        response_model=Presets,
        responses={409: {"model": Conflict}},
        summary="Replace the text of the presets; 409 with both texts if the file has changed since that version",
    )
    def put_presets(sent: PresetText, kind: Literal["weights", "elements"] = "weights") -> Any:
        return api.save(kind, sent)

    @router.post(
        "/explain",
        response_model=Explained,
        responses={404: {"model": MissingLora}},
        summary="What a tag means for its LoRA file; if there is no such file, 404 with everything else that is wrong",
    )
    def post_explain(sent: TagText) -> Any:
        return api.explain(sent)

    @router.get("/loras", response_model=list[LoraEntry], summary="All LoRAs known to the host")
    def get_loras() -> Any:
        return api.loras()

    @router.get("/loras/{name:path}", response_model=Lora, summary="A LoRA's architecture, kinds, blocks and presets")
    def get_lora(name: str) -> Any:
        return api.lora(name)

    @router.get(
        "/blocks",
        response_model=BlockMapForm,
        response_model_exclude_none=True,
        summary="The blocks of an architecture, or how much of a LoRA is in each",
    )
    def get_blocks(lora: str | None = None, architecture: str | None = None) -> Any:
        return api.blocks(lora, architecture)

    if sessions is not None:
        _add_analyses(router, sessions)
    app.include_router(router)
    app.openapi_schema = None  # generate it again with these routes, if it was already requested


def _add_analyses(router: APIRouter, sessions: Sessions) -> None:
    """Add the routes for analyses, each of which is a session."""

    def session_of(key: str) -> AnalysisSession:
        with answering():
            found = sessions.get(key)
        if not isinstance(found, AnalysisSession):
            raise HTTPException(404, t("there is no analysis {name}", name=quote(key)))
        return found

    @router.post("/analyze", response_model=AnalysisState, summary="Start the Effective Block Analyzer")
    def post_analyze(sent: AnalysisForm) -> Any:
        with answering():
            return _state(sessions.start(AnalysisRequest.read(dict(sent))))

    @router.get("/analyze", response_model=list[EarlierAnalysis], summary="The analyses with saved results")
    def get_analyses() -> Any:
        return [
            EarlierAnalysis(id=one.id, lora=one.lora, prompt=one.prompt, state=str(one.report.get("state", "")))
            for one in sessions.earlier()
        ]

    @router.get("/analyze/{key}", response_model=AnalysisState, summary="The progress of an analysis")
    def get_analyze(key: str) -> Any:
        return _state(session_of(key))

    @router.get("/analyze/{key}/result", summary="The figures of an analysis so far")
    def get_result(key: str) -> Any:
        return session_of(key).figures()

    @router.post(
        "/analyze/{key}/stop", response_model=AnalysisState, summary="Stop an analysis; finished pictures are kept"
    )
    def post_stop(key: str) -> Any:
        found = session_of(key)
        found.stop()
        return _state(found)


def _state(session: Session) -> AnalysisState:
    return AnalysisState(
        id=session.id,
        state=session.state,
        done=session.done,
        total=session.total,
        seconds_left=session.seconds_left,
        error="; ".join(str(message) for message in session.messages if message.level == ERROR),
        messages=[str(message) for message in session.messages],
        files=[str(path) for path in session.files],
    )
