"""The one way to patch a host: replace one of its functions, recognize the patch later, and remove it safely.

Other extensions replace the same functions, before and after ours. The original is therefore only restored if the
current function is ours: if another extension has wrapped ours, it stays inside of theirs and passes every call on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_MARK = "lbw_patch"  # on a function of ours: its patch
_PATCHES = "lbw_patches"  # on the patched owner: the patches by name, found again even if others have wrapped them


class Patch:
    """Replaces a function or method of the host until `remove`.

    One that an earlier load of the extension left there is removed first, even if others have wrapped it.
    """

    def __init__(
        self,
        owner: Any,
        name: str,
        replacement: Callable[..., Any],
        give_way: Callable[[], None] | None = None,
    ) -> None:
        """Replace the attribute `name` of `owner` with `replacement`.

        owner: a module, a class or an object.
        replacement: called with the replaced function, followed by the host's arguments.
        give_way: called when a later patch replaces this one; removes it if not given.
        """
        self.owner, self.name = owner, name
        self.active = True
        self.give_way = give_way or self.remove
        # A patch of an earlier load has another class, of which only `give_way` is used.
        if older := vars(owner).get(_PATCHES, {}).get(name):
            older.give_way()
        if older := patch_of(getattr(owner, name)):
            older.give_way()
        self.original: Callable[..., Any] = getattr(owner, name)
        self._inherited = name not in vars(owner)

        @functools.wraps(self.original, updated=())
        def function(*args: Any, **kwargs: Any) -> Any:
            if self.active:
                return replacement(self.original, *args, **kwargs)
            return self.original(*args, **kwargs)

        self.function = function
        setattr(function, _MARK, self)
        setattr(owner, name, function)
        setattr(owner, _PATCHES, {**vars(owner).get(_PATCHES, {}), name: self})

    def remove(self) -> None:
        """Restore the host's own function; if another extension has wrapped ours, become a no-op instead."""
        self.active = False
        if vars(self.owner).get(self.name) is self.function:
            if self._inherited:
                delattr(self.owner, self.name)
            else:
                setattr(self.owner, self.name, self.original)
        others = {name: patch for name, patch in vars(self.owner).get(_PATCHES, {}).items() if patch is not self}
        if others:
            setattr(self.owner, _PATCHES, others)
        elif _PATCHES in vars(self.owner):
            delattr(self.owner, _PATCHES)


def patch_of(function: Any) -> Any:
    """Return the patch that `function` belongs to, including one of an earlier load; None if it is not ours.

    A wrapper that another extension has put around ours with `functools.wraps` has our mark too, but is theirs.
    """
    patch = getattr(function, _MARK, None)
    return patch if getattr(patch, "function", None) is function else None
