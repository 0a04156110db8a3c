"""The command `analyses`: earlier analyses of an output folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("diffusers")
pytest.importorskip("gradio")

from lbw.analysis.analysis_session import AnalysisSession
from lbw.analysis.request import AnalysisRequest
from lbw.studio.cli import main
from tests.analysis.session_host import PROMPT, PaintingHost, ended


@pytest.fixture
def session(tmp_path: Path) -> AnalysisSession:
    """One analysis in the folder `out`."""
    made = ended(AnalysisSession(PaintingHost(tmp_path), AnalysisRequest(PROMPT, seed=3)))
    assert isinstance(made, AnalysisSession)
    return made


def test_they_are_listed(session: AnalysisSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyses", "-o", str(tmp_path / "out")]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert session.id in line
    assert "IN04, IN08, OUT00" in line
    assert PROMPT in line
    assert main(["analyses", "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"id": session.id, "lora": "demo", "prompt": PROMPT, "folder": str(session.folder)}
    ]


def test_one_is_shown_with_its_files(
    session: AnalysisSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["analyses", session.id, "-o", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()[1:4]] == [
        ["1", "IN04", "10.000", "%"], ["2", "IN08", "2.000", "%"], ["3", "OUT00", "0.500", "%"],
    ]  # fmt: skip
    assert all(str(path) in out for path in session.files)
    assert main(["analyses", session.id, "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(session.figures()))


@pytest.mark.parametrize("key", ["nowhere", "..", "../out"])
def test_one_that_is_not_there_is_told(
    session: AnalysisSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert main(["analyses", key, "-o", str(tmp_path / "out")]) == 2
    assert f"there is no analysis {key} in " in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", '{"settings": {}, "request": {}}', "[" * 100_000])
def test_what_is_no_report_is_left_out(
    session: AnalysisSession, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert session.folder is not None
    (session.folder / "analysis.json").write_text(text, encoding="utf-8")
    assert main(["analyses", "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["analyses", "-o", str(tmp_path / "nowhere"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
