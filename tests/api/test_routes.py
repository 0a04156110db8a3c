"""The routes under /lbw/v1, asked as a page or a program asks them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lbw.core.architectures import ARCHITECTURES
from lbw.files.user_presets import PresetStore
from lbw.webui.hook import Hook

SDXL = ARCHITECTURES["sdxl"]

fastapi = pytest.importorskip("fastapi")
TestClient = pytest.importorskip("fastapi.testclient").TestClient

PRESETS = "# mine\nMINE:0,OUT00=1\nFLUXALL:" + ",".join("1" * 61) + "\n<img src=x onerror=alert(1)>:0\n"


def write_lora(path: Path, *layers: str, width: int = 2048) -> None:
    """Write a LoRA of SDXL, or of SD 1.x where `width` is 768, with these layers."""
    tensors = {}
    for layer in (*layers, "input_blocks_4_1_transformer_blocks_0_attn2_to_k"):
        rows = width if "attn2_to_k" in layer else 4
        tensors[f"lora_unet_{layer}.lora_down.weight"] = torch.zeros(1, rows)
        tensors[f"lora_unet_{layer}.lora_up.weight"] = torch.zeros(4, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)


class Networks:
    """The host's list of LoRAs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forbidden_network_aliases: dict[str, int] = {}
        self.available_networks: dict[str, Any] = {}
        self.available_network_aliases: dict[str, Any] = {}
        self.list_available_networks()

    def list_available_networks(self) -> None:
        self.available_networks.clear()
        for path in sorted(p for p in self.folder.rglob("*") if p.suffix in (".safetensors", ".pt")):
            entry = SimpleNamespace(filename=str(path))
            self.available_networks[str(path.relative_to(self.folder).with_suffix(""))] = entry
        self.available_network_aliases.update(self.available_networks)


class Server:
    """A host's server with our routes."""

    def __init__(self, folder: Path, api_auth: str | None = None, gradio_auth: bool = False) -> None:
        from lbw.api import routes
        from lbw.hosts.base import Host

        self.routes = routes
        self.folder = folder
        self.store = PresetStore(folder / "user")
        hook = Hook(self.store)
        host = SimpleNamespace(networks=Networks(folder / "loras"))
        host.architecture = lambda: None
        host.find = lambda name: Host.find(host, name)
        host.lora_files = lambda: Host.lora_files(host)
        hook.host = host
        self.hook = hook
        self.app = fastapi.FastAPI()
        self.app.auth = {"ann": "secret"} if gradio_auth else None

        def get_current_user(request: fastapi.Request) -> str | None:
            return {"good": "ann"}.get(request.cookies.get("access-token", ""))

        get_current_user.__annotations__["request"] = fastapi.Request
        self.app.get("/user")(get_current_user)
        routes.add_routes(self.app, hook, api_auth)
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def get(self, path: str, **fields: Any) -> Any:
        return self.client.get("/lbw/v1" + path, **fields)

    def put(self, text: str, version: str, kind: str = "weights") -> Any:
        return self.client.put(f"/lbw/v1/presets?kind={kind}", json={"text": text, "version": version})

    def explain(self, tag: str, **fields: Any) -> Any:
        return self.client.post("/lbw/v1/explain", json={"tag": tag, **fields})


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Server]:
    """Start a server, the user's presets and three LoRAs in its folders."""
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "lbwpresets.txt").write_text(PRESETS, encoding="utf-8")
    (tmp_path / "user" / "elempresets.txt").write_text("ATT:::0\n", encoding="utf-8")
    write_lora(tmp_path / "loras" / "subject.safetensors", "output_blocks_0_1_proj_in", "middle_block_1_proj_in")
    write_lora(tmp_path / "loras" / "old" / "näme [1].safetensors", width=768)
    (tmp_path / "loras" / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "loras" / "pickled.pt").write_bytes(b"nothing")
    return lambda **fields: Server(tmp_path, **fields)


@pytest.fixture
def server(make: Callable[..., Server]) -> Server:
    """A server that demands no credentials."""
    return make()


def test_a_preset_file_is_given_as_text_and_by_name(server: Server) -> None:
    answer = server.get("/presets").json()
    assert answer["text"] == PRESETS
    assert answer["names"] == ["MINE", "FLUXALL", "<img src=x onerror=alert(1)>"]
    assert answer["presets"]["MINE"] == "0,OUT00=1"
    elements = server.get("/presets?kind=elements").json()
    assert (elements["names"], elements["presets"]) == (["ATT"], {"ATT": "::0"})
    assert server.get("/presets?kind=other").status_code == 422


@pytest.mark.parametrize("kind", ["weights", "elements"])
def test_a_preset_file_is_replaced_with_a_backup(server: Server, kind: str) -> None:
    before = server.get(f"/presets?kind={kind}").json()
    answer = server.put("A:::1\r\nno preset\n\N{ZERO WIDTH JOINER}", before["version"], kind)
    assert answer.status_code == 200
    assert answer.json()["version"] != before["version"]
    path = server.folder / "user" / ("lbwpresets.txt" if kind == "weights" else "elempresets.txt")
    assert path.read_bytes() == "A:::1\r\nno preset\n\N{ZERO WIDTH JOINER}".encode()
    assert path.with_name(path.name + ".bak").read_text(encoding="utf-8") == before["text"]


def test_nobody_overwrites_anothers_edit(server: Server) -> None:
    version = server.get("/presets").json()["version"]
    theirs = server.put("THEIRS:1\n", version).json()
    conflict = server.put("MINE:0\n", version)
    assert conflict.status_code == 409
    answer = conflict.json()
    assert (answer["text"], answer["yours"], answer["version"]) == ("THEIRS:1\n", "MINE:0\n", theirs["version"])
    assert "changed" in answer["detail"]
    assert server.get("/presets").json()["text"] == "THEIRS:1\n"
    assert server.put("MINE:0\n", answer["version"]).json()["names"] == ["MINE"]


def test_a_file_that_is_gone_or_new_counts_as_changed(server: Server) -> None:
    version = server.get("/presets").json()["version"]
    path = server.folder / "user" / "lbwpresets.txt"
    path.unlink()
    assert server.put("A:1\n", version).status_code == 409
    shipped = server.get("/presets").json()
    assert (shipped["version"], "XL-STYLE" in shipped["names"]) == ("", True)
    path.write_text("B:1\n")
    assert server.put("A:1\n", "").status_code == 409
    assert path.read_text() == "B:1\n"


def test_a_file_that_is_no_text_is_told(server: Server) -> None:
    (server.folder / "user" / "lbwpresets.txt").write_bytes(b"\xff\xfe")
    answer = server.get("/presets")
    assert answer.status_code == 422
    assert "UTF-8" in answer.json()["detail"]


def test_a_tag_is_explained_for_its_file(server: Server) -> None:
    answer = server.explain("<lora:subject:0.8:0.5:lbw=MINE:stop=30%:foo=1>").json()
    assert (answer["architecture"], answer["te"], answer["unet"], answer["stop"]) == ("sdxl", 0.8, 0.5, "30%")
    assert answer["blocks"] == {block: float(block == "OUT00") for block in SDXL.blocks}
    assert answer["modules"] == {"OUT00": 1, "M00": 1, "IN04": 1}
    assert answer["problems"] == []


def test_the_same_seed_draws_the_same_numbers(server: Server) -> None:
    drawn = [server.explain("<lora:subject:1:lbw=R>", seed=seed).json()["blocks"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("tag", "status", "expected"),
    [
        ("<lora:subject:1:lbw=MIN>", 200, '"MIN"'),
        ("<lora:nobody:1>", 404, '"nobody"'),
        ("<lora:broken:1>", 422, "not a safetensors"),
        ("no tag>", 422, "not a tag"),
        ("<what:ever>", 422, "not a tag"),
        ("", 422, "does not name a LoRA"),
    ],
)
def test_what_is_wrong_with_a_tag_is_said(server: Server, tag: str, status: int, expected: str) -> None:
    answer = server.explain(tag)
    assert answer.status_code == status
    assert expected in str(answer.json().get("detail") or answer.json().get("problems"))


@pytest.mark.parametrize(
    ("tag", "problem"),
    [
        ("<lora:nobody:1>", None),
        ("<lora:nobody:1:lbw=MINE>", None),
        ("<lora:nobody:1:lbw=FLUXALL>", None),
        ("<lora:nobody:1:lbw=D07=0.5>", None),
        ("<lora:nobody:1:lbw=MIN>", 'unknown preset "MIN"'),
        ("<lora:nobody:1:lbw=1,2>", "2 numbers given"),
        ("<lora:nobody:1:start=9:stop=3>", "9"),
        ("<lora:nobody:1:strat=3>", "start"),
    ],
)
def test_a_lora_that_is_missing_does_not_hide_what_is_wrong_with_its_tag(
    server: Server, tag: str, problem: str | None
) -> None:
    answer = server.explain(tag).json()
    assert answer["detail"] == 'LoRA "nobody" was not found'
    assert len(answer["problems"]) == (problem is not None)
    assert (problem or "") in "".join(answer["problems"])


def test_all_loras_are_listed_with_their_blocks(server: Server) -> None:
    listed = {entry["name"]: entry for entry in server.get("/loras").json()}
    assert listed["subject"] == {
        "name": "subject",
        "architecture": "sdxl",
        "layouts": [12, 17, 20, 26],
        "blocks": ["IN04", "M00", "OUT00"],
        "pending": False,
    }
    assert listed["old/näme [1]"]["architecture"] == "sd1"
    assert (listed["broken"]["architecture"], listed["pickled"]["architecture"]) == (None, None)


def test_a_list_waits_only_so_long_and_no_file_is_read_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from lbw.files import summary

    read: list[str] = []
    original = summary.open_lora
    monkeypatch.setattr(summary, "open_lora", lambda path, loaded: read.append(str(path)) or original(path, loaded))
    monkeypatch.setattr(server.routes, "LIST_SECONDS", -1)
    assert all(entry["pending"] for entry in server.get("/loras").json())
    assert read == []
    monkeypatch.setattr(server.routes, "LIST_SECONDS", 60)
    for _ in range(3):
        assert not any(entry["pending"] for entry in server.get("/loras").json())
    assert len(read) == 3
    write_lora(server.folder / "loras" / "subject.safetensors", "output_blocks_1_1_proj_in")
    assert server.get("/loras/subject").json()["touched"] == ["IN04", "OUT01"]
    assert len(read) == 4


def test_one_lora_says_what_it_has_and_which_presets_fit(server: Server) -> None:
    lora = server.get("/loras/subject").json()
    assert (lora["title"], lora["kinds"], lora["blocks"]) == ("SDXL", ["lora"], list(SDXL.blocks))
    assert lora["layouts"]["12"] == list(SDXL.layouts[12])
    assert lora["presets"] == ["MINE", "<img src=x onerror=alert(1)>"]
    server.put("NEW:1\nBAD:1,2\n", server.get("/presets").json()["version"])
    assert server.get("/loras/subject").json()["presets"] == ["NEW"]
    assert server.get("/loras/old/n%C3%A4me [1]").json()["architecture"] == "sd1"


def test_a_lora_says_where_its_blocks_stand(server: Server) -> None:
    ways, below = server.get("/loras/subject").json()["shape"]
    assert (ways[0][0], ways[1][0], below) == ("IN00", "OUT08", [["M00"], ["BASE"]])


def test_the_loaded_model_decides_where_a_file_does_not_say(server: Server) -> None:
    """Chroma's names of diffusers are Flux.1's."""
    tensors = {}
    for n in (0, 5):
        name = f"transformer.transformer_blocks.{n}.attn.to_q"
        tensors |= {f"{name}.lora_A.weight": torch.zeros(1, 3072), f"{name}.lora_B.weight": torch.zeros(3072, 1)}
    save_file(tensors, server.folder / "loras" / "both.safetensors")
    server.hook.host.networks.list_available_networks()

    def models() -> list[Any]:
        tag, listed = server.explain("<lora:both:1>").json(), server.get("/loras/both").json()
        return [
            tag["architecture"],
            tag["title"],
            listed["architecture"],
            server.get("/blocks?lora=both").json()["title"],
        ]

    assert models() == ["flux", "Flux.1", "flux", "Flux.1"]
    server.hook.host.architecture = lambda: ARCHITECTURES["chroma"]
    assert models() == ["chroma", "Chroma", "chroma", "Chroma"]


def test_the_map_of_a_lora_counts_its_tensors_and_parameters(server: Server) -> None:
    found = server.get("/blocks?lora=subject").json()
    blocks = {block["id"]: block for block in found["blocks"]}
    assert (found["architecture"], list(blocks)) == ("sdxl", list(SDXL.blocks))
    # A down of 1 x 2048 or 1 x 4, and an up of 4 x 1, in each module.
    assert blocks["IN04"] == {
        "id": "IN04", "what": "input block 4", "path": "input_blocks.4", "tensors": 2, "parameters": 2052,
        "share": round(100 * 2052 / 2068, 4),
    }  # fmt: skip
    assert blocks["OUT01"]["tensors"] == 0
    assert found["layouts"]["12"] == list(SDXL.layouts[12])


def test_the_map_of_an_architecture_says_what_its_blocks_are(server: Server) -> None:
    found = server.get("/blocks?architecture=anima:B20").json()
    assert found["blocks"][0] == {"id": "TE", "what": "text encoder", "path": ""}
    assert (len(found["blocks"]), found["groups"]["EARLY"][0]) == (24, "B00")


@pytest.mark.parametrize(
    ("asked", "status", "expected"),
    [
        ("", 422, "pass a lora or an architecture"),
        ("?lora=subject&architecture=flux", 422, "pass a lora or an architecture"),
        ("?lora=nobody", 404, '"nobody"'),
        ("?lora=broken", 422, "not a safetensors file"),
        ("?architecture=fluxx", 422, "did you mean flux"),
        ("?architecture=", 422, "the known ones are sd1, sd2"),
    ],
)
def test_a_map_that_there_is_none_of_is_refused(server: Server, asked: str, status: int, expected: str) -> None:
    answer = server.get(f"/blocks{asked}")
    assert (answer.status_code, expected in answer.json()["detail"]) == (status, True)


@pytest.mark.parametrize("name", ["nobody", "../user/lbwpresets", "/etc/passwd", "..%2Fuser%2Flbwpresets.txt"])
def test_a_name_is_never_a_path(server: Server, name: str) -> None:
    assert server.get(f"/loras/{name}").status_code == 404
    absolute = str(server.folder / "loras" / "subject.safetensors")
    assert server.explain(f"<lora:{absolute}:1>").status_code == 404


def test_a_webui_that_is_not_known_lists_its_loras_and_tags_are_explained(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lbw.hosts import unknown

    files = {"subject": str(server.folder / "loras" / "subject.safetensors")}
    server.hook.host = None
    monkeypatch.setattr(unknown, "lora_files", lambda: files)
    assert [(entry["name"], entry["architecture"]) for entry in server.get("/loras").json()] == [("subject", "sdxl")]
    assert server.explain("<lora:subject:1:lbw=MINE>").json()["blocks"]["OUT00"] == 1


ROUTES = [
    ("GET", "/presets"), ("PUT", "/presets"), ("POST", "/explain"), ("GET", "/loras"), ("GET", "/loras/subject"),
    ("GET", "/blocks?lora=subject"), ("GET", "/blocks?architecture=flux"),
]  # fmt: skip


def ask(server: Server, method: str, path: str, **fields: Any) -> Any:
    body = {"tag": "<lora:subject:1>", "text": PRESETS, "version": "no"} if method != "GET" else None
    return server.client.request(method, "/lbw/v1" + path, json=body, **fields)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_demands_the_credentials_of_the_api(make: Any, method: str, path: str) -> None:
    server = make(api_auth="bob:pä,ann:secret")
    refused = ask(server, method, path)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Basic"
    for wrong in (("bob", "secret"), ("eve", ""), ("", "")):
        assert ask(server, method, path, auth=wrong).status_code == 401
    assert ask(server, method, path, headers={"Authorization": "Basic !"}).status_code == 401
    assert ask(server, method, path, cookies={"access-token": "good"}).status_code == 401
    for right in (("bob", "pä".encode()), ("ann", "secret")):
        assert ask(server, method, path, auth=right).status_code in (200, 409)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_demands_the_login_of_the_page(make: Any, method: str, path: str) -> None:
    server = make(gradio_auth=True)
    refused = ask(server, method, path)
    assert refused.status_code == 401
    assert "WWW-Authenticate" not in refused.headers
    assert ask(server, method, path, cookies={"access-token": "bad"}).status_code == 401
    server.client.cookies.clear()
    assert ask(server, method, path, cookies={"access-token": "good"}).status_code in (200, 409)


def test_where_both_are_set_either_is_enough_and_a_page_is_not_asked_by_the_browser(make: Any) -> None:
    server = make(api_auth="ann:secret", gradio_auth=True)
    assert server.get("/presets", auth=("ann", "secret")).status_code == 200
    assert server.get("/presets", cookies={"access-token": "good"}).status_code == 200
    server.client.cookies.clear()
    refused = server.get("/presets", headers={"X-Requested-With": "lbw"})
    assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, False)


def test_where_gradio_cannot_be_asked_who_it_is_nobody_passes(make: Any) -> None:
    server = make(gradio_auth=True)
    server.app.router.routes[:] = [route for route in server.app.routes if getattr(route, "path", "") != "/user"]
    assert server.get("/presets", cookies={"access-token": "good"}).status_code == 401


def test_it_stands_in_the_hosts_docs_and_added_twice_it_is_there_once(server: Server) -> None:
    server.routes.add_routes(server.app, server.hook, None)
    paths = server.client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/lbw")} == {
        "/lbw/v1/presets",
        "/lbw/v1/explain",
        "/lbw/v1/loras",
        "/lbw/v1/loras/{name}",
        "/lbw/v1/blocks",
    }
    assert sum(getattr(route, "path", "") == "/lbw/v1/explain" for route in server.app.routes) == 1


def test_gradio_itself_is_asked_who_is_logged_in(make: Any) -> None:
    gradio = pytest.importorskip("gradio")
    with gradio.Blocks() as demo:
        gradio.Textbox()
    demo.auth = [("ann", "secret")]
    demo.auth_message = None
    app = gradio.routes.App.create_app(demo)
    server = make()
    server.routes.add_routes(app, server.hook, None)
    client = TestClient(app)
    assert client.get("/lbw/v1/presets").status_code == 401
    assert client.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
    assert client.get("/lbw/v1/presets").status_code == 200
