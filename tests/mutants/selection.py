"""Which tests are run for a mutant: those that are about its file and take little time.

mutmut finds out by itself which of them reach a function; it would take all that do, which for a host's file are most
tests of the hosts under each of ten doubles. The words after `-k` keep the doubles that the file is for.
"""

from __future__ import annotations

from dataclasses import dataclass

ROOMS = ("lbw/core", "lbw/files", "lbw/hosts", "lbw/analysis")


@dataclass(frozen=True)
class Selection:
    """tests: files and folders. keyword: as `pytest -k` takes it; an empty one takes all."""

    tests: tuple[str, ...]
    keyword: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """What pytest is given beside the tests, an item a line."""
        return ("-p", "no:cacheprovider", "-p", "tests.mutants.fresh", *(("-k", self.keyword) if self.keyword else ()))


_CORE = tuple(f"tests/core/test_{name}.py" for name in (
    "architectures", "block_words", "blocks", "elements", "plan", "preset_check", "presets", "shape", "steps", "tag",
    "weights",
))  # fmt: skip
_LAWS = tuple(f"tests/hosts/test_{name}.py" for name in (
    "a1111", "cost", "forge", "laws", "layers", "neo", "patch", "replaced_file", "sequences", "steps",
))  # fmt: skip
_NAMES = ("tests/core/test_names_blocks.py", "tests/core/test_names_detection.py", "tests/core/test_names_unets.py")

_ANALYSIS = {
    "analysis_session": "analysis_session sessions",
    "cells": "cells",
    "changes": "changes",
    "effective_blocks": "effective_blocks",
    "fonts": "sheet",
    "groups": "trainer lycoris_preset",
    "lycoris_preset": "lycoris_preset",
    "measure": "measure",
    "layer_words": "trainer trainers_of_models",
    "network_arguments": "trainer trainers_of_models",
    "noise_scan": "noise_scan",
    "plot_session": "plot_session",
    "png": "png store",
    "prompt": "prompt",
    "ranges": "ranges",
    "report": "report plot_session",
    "request": "request",
    "runner": "runner",
    "session": "sessions plot_session analysis_session",
    "sheet": "sheet plot_session",
    "store": "store",
    "strip": "strip",
    "trainer": "trainer",
    "training": "trainer trainers_of_models lycoris_preset",
    "tuner": "tuner",
    "tuner_round": "tuner_round",
    "xyz": "xyz hostile_grids",
}
"""The tests of the analyzer's files; those of `tuner` are those of `tuner_start` too."""

_QUICK = "not (150 or killed or meanwhile or thousand or long or fp8 or bf16)"

TABLE = {
    "lbw/core/families/": Selection(_NAMES),
    "lbw/core/names.py": Selection(_NAMES),
    "lbw/core/detect.py": Selection(_NAMES),
    "lbw/core/clues.py": Selection(_NAMES),
    "lbw/core/": Selection(_CORE, _QUICK),
    "lbw/files/delta.py": Selection(
        ("tests/files", "tests/analysis/test_changes.py", "tests/hosts/test_layers.py"), _QUICK
    ),
    "lbw/files/header.py": Selection(("tests/files/test_header.py",)),
    "lbw/files/atomic.py": Selection(("tests/files/test_atomic.py", "tests/files/test_user_presets.py"), _QUICK),
    "lbw/files/": Selection(("tests/files",), _QUICK),
    "lbw/hosts/standalone.py": Selection(
        ("tests/studio/test_library.py", "tests/studio/test_standalone.py", "tests/studio/test_pipelines.py"),
        "not Steps and not modular and not size",
    ),
    "lbw/hosts/pipelines.py": Selection(("tests/studio/test_loading.py", "tests/studio/test_pipelines.py")),
    "lbw/hosts/layers.py": Selection(("tests/hosts/test_layers.py", "tests/studio/test_standalone.py")),
    "lbw/hosts/a1111.py": Selection(_LAWS, "(a1111 or AUTOMATIC1111) and not layers"),
    "lbw/hosts/forge.py": Selection(_LAWS, "(test_forge or Forge) and not reForge"),
    "lbw/hosts/forge_classic.py": Selection(_LAWS, "Classic"),
    "lbw/hosts/partial.py": Selection(_LAWS, "(partly or does_not_let) and not replaced_file and not it_has"),
    "lbw/hosts/": Selection(_LAWS, "reForge and not partly and not replaced_file and not it_has"),
    **{
        f"lbw/analysis/{file}": Selection(tuple(f"tests/analysis/test_{name}.py" for name in tests.split()))
        for file, tests in sorted(_ANALYSIS.items(), reverse=True)
    },
    "lbw/analysis/": Selection(("tests/analysis",), "not Trainers and not limit and not labels"),
}
"""The tests by the beginning of a file's path; the first that fits."""


def selection_for(file: str) -> Selection:
    """Return the tests for the mutants of `file`."""
    return next(selection for beginning, selection in TABLE.items() if file.startswith(beginning))
