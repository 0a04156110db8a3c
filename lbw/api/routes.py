"""Routes under `/lbw/v1` in the host's own server: presets, what a tag means, what a LoRA has.

They demand credentials exactly where the host does: those of `--api-auth` as the host's API does, or a login of
`--gradio-auth` as its page does, either being enough where both are set; none where the host demands none.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import compare_digest
from threading import Lock
from typing import Any, Literal, Protocol

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from lbw.core.architectures import Architecture
from lbw.core.errors import FileError, HostError, LbwError, quote
from lbw.core.tag import parse_tag
from lbw.core.weights import Drawing, resolve
from lbw.files import user_presets
from lbw.files.explain import explain
from lbw.files.summary import Summaries, Summary
from lbw.files.user_presets import PresetStore
from lbw.ui.analyzer_host import Question

from .jobs import Job, Jobs

PREFIX = "/lbw/v1"
FILES = {"weights": user_presets.WEIGHTS, "elements": user_presets.ELEMENTS}
LIST_SECONDS = 1.0  # how long one listing may read headers that were never read before


class Server(Protocol):
    """What the routes ask of the program in whose server they stand. store: the user's preset files."""

    store: PresetStore

    def find(self, name: str) -> str | None:
        """Return the file of the LoRA that a tag calls `name`, None if there is none."""

    def lora_files(self) -> dict[str, str]:
        """Return the files of all LoRAs, by name.

        Raises:
            HostError: the host is not known.
        """


class PresetText(BaseModel):
    """A preset file as somebody edited it, and the version that was read before."""

    text: str
    version: str


class Presets(BaseModel):
    """A preset file: its text, what its presets are, and a version that changes with the file."""

    text: str
    version: str
    names: list[str]
    presets: dict[str, str]


class Conflict(BaseModel):
    """The file as it stands on the disk, changed since the version that was sent, and the text that was sent."""

    detail: str
    text: str
    version: str
    yours: str


class TagText(BaseModel):
    """A tag, and the image's seed that `R` and `U` are drawn with."""

    tag: str
    seed: int = 0


class Explained(BaseModel):
    """What a tag means for its LoRA's file: each block's weight, and how many modules the file has there."""

    lora: str
    architecture: str
    layout: int | None
    te: float
    unet: float
    start: int | str | None
    stop: int | str | None
    blocks: dict[str, float]
    modules: dict[str, int]
    problems: list[str]


class LoraEntry(BaseModel):
    """One LoRA of the list; `pending` where its file was not looked into yet."""

    name: str
    architecture: str | None
    layouts: list[int]
    blocks: list[str]
    pending: bool = False


class Lora(BaseModel):
    """What a LoRA's file holds, and how its blocks can be weighted."""

    name: str
    architecture: str
    title: str
    kinds: list[str]
    blocks: list[str]
    touched: list[str]
    layouts: dict[str, list[str]]
    unlisted: dict[str, float]
    presets: list[str]


# Credentials -------------------------------------------------------------------------------------


def guard(app: FastAPI, api_auth: str | None) -> Callable[[Request], None]:
    """Return what lets a request pass, or raises HTTPException 401.

    api_auth: the host's `--api-auth`, `user:password`, several separated by commas.
    """
    accounts = dict(account.partition(":")[::2] for account in (api_auth or "").split(",") if account)

    def check(request: Request) -> None:
        page_is_guarded = getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None) is not None
        if not accounts and not page_is_guarded:
            return
        if accounts and _is_account(request.headers.get("Authorization", ""), accounts):
            return
        if page_is_guarded and _is_logged_in(app, request):
            return
        # A script of the page says the reason itself; for everybody else the browser asks for the credentials.
        asks = accounts and "X-Requested-With" not in request.headers
        headers = {"WWW-Authenticate": "Basic"} if asks else None
        raise HTTPException(401, "Incorrect username or password" if accounts else "Not authenticated", headers)

    return check


def _is_account(header: str, accounts: dict[str, str]) -> bool:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        user, _, password = base64.b64decode(token, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return False
    expected = accounts.get(user)
    return expected is not None and compare_digest(password.encode(), expected.encode())


def _is_logged_in(app: FastAPI, request: Request) -> bool:
    """Ask Gradio itself who sent the request: the names of its cookies differ from version to version."""
    for route in app.routes:
        endpoint = getattr(route, "endpoint", None)
        if getattr(endpoint, "__name__", "") == "get_current_user":
            return endpoint(request) is not None  # type: ignore[misc]
    return False


class AnalysisQuestion(BaseModel):
    """What to analyze: a prompt with `lbw=XYZ` at one LoRA, and the settings of the panel *Analyze*."""

    prompt: str
    negative_prompt: str = ""
    seed: int = -1
    steps: int = 20
    width: int = 512
    height: int = 512
    cfg_scale: float = 7.0
    sampler_name: str = ""
    range: str = "0,1"
    blocks: str = "auto"
    seeds: int = 1
    threshold: int = 20


class AnalysisState(BaseModel):
    """How far an analysis is: `waiting`, `running`, `done`, `stopped` or `failed`; pictures done, and in all."""

    id: str
    state: str
    done: int
    total: int
    seconds_left: float | None = None
    error: str = ""


# Routes ------------------------------------------------------------------------------------------


class Api:
    """The routes' work."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.summaries = Summaries()
        self._saving = Lock()
        self._fitting: tuple[str, dict[str, list[str]]] = ("", {})

    def presets(self, kind: str) -> Presets:
        """Return a preset file."""
        store, name = self.server.store, FILES[kind]
        version = user_presets.version(store.folder / name)  # before the text: a change in between is noticed
        with answering():
            text = user_presets.read_text(store.path(name))
            presets = store.presets() if kind == "weights" else store.elements()
        return Presets(text=text, version=version, names=list(presets), presets=presets)

    def save(self, kind: str, sent: PresetText) -> Presets | JSONResponse:
        """Replace a preset file, unless it has changed since the version that was sent."""
        path = self.server.store.folder / FILES[kind]
        with self._saving:
            try:
                user_presets.write_text(path, sent.text, sent.version)
            except FileError as error:
                if user_presets.version(path) == sent.version:
                    raise HTTPException(500, str(error)) from error
                now = self.presets(kind)
                conflict = {"detail": str(error), "text": now.text, "version": now.version, "yours": sent.text}
                return JSONResponse(conflict, 409)
        return self.presets(kind)

    def explain(self, sent: TagText) -> Explained:
        """Return what a tag means for its LoRA's file."""
        store = self.server.store
        with answering():
            presets, elements = store.presets(), store.elements()
            path = self.path(parse_tag(sent.tag, presets).name)
            report = explain(sent.tag, Path(path), presets, elements, sent.seed)
        modules: dict[str, int] = {}
        for module in report.pop("modules"):
            modules[module["block"]] = modules.get(module["block"], 0) + 1
        problems = report.pop("warnings")
        return Explained(**report, modules=modules, problems=problems)

    def path(self, name: str) -> str:
        """Return the file of the LoRA that the host knows by `name`.

        Raises:
            HTTPException: 404, there is none. HostError: the host is not known.
        """
        path = self.server.find(name)
        if path is None:
            raise HTTPException(404, f"LoRA {quote(name)} was not found")
        return path

    def loras(self) -> list[LoraEntry]:
        """Return all LoRAs; files that were never read are read for a second at most, the others are `pending`."""
        until = time.monotonic() + LIST_SECONDS
        with answering():
            return [self._entry(name, path, until) for name, path in self.server.lora_files().items()]

    def _entry(self, name: str, path: str, until: float) -> LoraEntry:
        entry = LoraEntry(name=name, architecture=None, layouts=[], blocks=[])
        if not self.summaries.knows(path) and time.monotonic() > until:
            entry.pending = True
            return entry
        try:
            summary = self.summaries.of(path)
        except FileError:
            return entry
        entry.architecture = summary.architecture.name
        entry.layouts = list(summary.architecture.layouts)
        entry.blocks = list(summary.touched)
        return entry

    def lora(self, name: str) -> Lora:
        """Return what one LoRA's file holds."""
        with answering():
            summary: Summary = self.summaries.of(self.path(name))
            fitting = self.fitting(summary.architecture)
        architecture = summary.architecture
        return Lora(
            name=name,
            architecture=architecture.name,
            title=architecture.title,
            kinds=list(summary.kinds),
            blocks=list(architecture.blocks),
            touched=list(summary.touched),
            layouts={str(count): list(blocks) for count, blocks in architecture.layouts.items()},
            unlisted={str(count): weight for count, weight in architecture.unlisted.items()},
            presets=fitting,
        )

    def fitting(self, architecture: Architecture) -> list[str]:
        """Return the names of the presets that a LoRA of `architecture` takes, in the order of the file."""
        store = self.server.store
        version = user_presets.version(store.path(user_presets.WEIGHTS))
        if self._fitting[0] != version:
            self._fitting = (version, {})
        known = self._fitting[1]
        if architecture.name not in known:
            presets = store.presets()
            known[architecture.name] = [name for name in presets if _fits(name, architecture, presets)]
        return known[architecture.name]


def _fits(name: str, architecture: Architecture, presets: dict[str, str]) -> bool:
    try:
        resolve(name, architecture, Drawing(), presets)
    except LbwError:
        return False
    return True


@contextmanager
def answering() -> Iterator[None]:
    """Turn our errors into answers: 503 where the host is not known, 422 for what cannot be read or understood."""
    try:
        yield
    except LbwError as error:
        raise HTTPException(503 if isinstance(error, HostError) else 422, str(error)) from error


def add_routes(app: FastAPI, server: Server, api_auth: str | None, jobs: Jobs | None = None) -> None:
    """Add the routes to the host's `app`, which may have those of an earlier load.

    jobs: runs analyses; without it there are no routes for them.
    """
    app.router.routes[:] = [route for route in app.routes if not str(getattr(route, "path", "")).startswith(PREFIX)]
    api = Api(server)
    router = APIRouter(prefix=PREFIX, tags=["LoRA Block Weight"], dependencies=[Depends(guard(app, api_auth))])

    @router.get("/presets", response_model=Presets, summary="The user's presets, as text and by name")
    def get_presets(kind: Literal["weights", "elements"] = "weights") -> Any:
        return api.presets(kind)

    @router.put(
        "/presets",
        response_model=Presets,
        responses={409: {"model": Conflict}},
        summary="Replace the presets' text; 409 with both texts where the file has changed since that version",
    )
    def put_presets(sent: PresetText, kind: Literal["weights", "elements"] = "weights") -> Any:
        return api.save(kind, sent)

    @router.post("/explain", response_model=Explained, summary="What a tag means for its LoRA's file")
    def post_explain(sent: TagText) -> Any:
        return api.explain(sent)

    @router.get("/loras", response_model=list[LoraEntry], summary="All LoRAs that the host knows")
    def get_loras() -> Any:
        return api.loras()

    @router.get("/loras/{name:path}", response_model=Lora, summary="A LoRA's architecture, kinds, blocks and presets")
    def get_lora(name: str) -> Any:
        return api.lora(name)

    if jobs is not None:
        _add_analyses(router, jobs)
    app.include_router(router)
    app.openapi_schema = None  # made anew with these, if somebody has asked for it already


def _add_analyses(router: APIRouter, jobs: Jobs) -> None:
    """Add the routes for analyses, which run as jobs."""

    def job_of(job: str) -> Job:
        found = jobs.get(job)
        if found is None:
            raise HTTPException(404, f"there is no analysis {quote(job)}")
        return found

    @router.post("/analyze", response_model=AnalysisState, summary="Start the Effective Block Analyzer")
    def post_analyze(sent: AnalysisQuestion) -> Any:
        question = Question(
            prompt=sent.prompt,
            negative=sent.negative_prompt,
            seed=sent.seed,
            steps=sent.steps,
            width=sent.width,
            height=sent.height,
            cfg=sent.cfg_scale,
            sampler=sent.sampler_name,
            span=sent.range,
            blocks=sent.blocks,
            seeds=str(sent.seeds),
            threshold=str(sent.threshold),
        )
        with answering():
            return jobs.start(question).summary()

    @router.get("/analyze/{job}", response_model=AnalysisState, summary="How far an analysis is")
    def get_analyze(job: str) -> Any:
        return job_of(job).summary()

    @router.get("/analyze/{job}/result", summary="The figures of an analysis, so far")
    def get_result(job: str) -> Any:
        return job_of(job).result()

    @router.post("/analyze/{job}/stop", response_model=AnalysisState, summary="Stop an analysis; what is done is kept")
    def post_stop(job: str) -> Any:
        found = job_of(job)
        found.stop.set()
        return found.summary()
