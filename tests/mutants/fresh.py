"""A plugin of pytest: what the program has remembered is forgotten before the tests of a mutant.

mutmut runs them in a fork of the process that has run all tests before: what a cache remembers from then would be found
instead of what the mutant does.
"""

from __future__ import annotations

import sys


def pytest_sessionstart() -> None:
    """Empty the caches of all functions of the program."""
    for name, module in list(sys.modules.items()):
        for function in list(vars(module).values()) if name.startswith("lbw") else ():
            if hasattr(function, "cache_clear"):
                function.cache_clear()
