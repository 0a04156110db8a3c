"""The one way to patch a host: a function in place of the host's own, known again later, and taken off without harm.

Other extensions replace the same functions, before ours and after it. What stands in the place is therefore never put
back unless it is ours: where another extension has wrapped ours, ours stays inside of theirs and lets every call
through.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_MARK = "lbw_patch"  # on a function of ours: its patch
_PATCHES = "lbw_patches"  # on what was patched: the patches by name, found again though others lie on top


class Patch:
    """A function, or a method, that the host finds in place of its own, from now until `remove`.

    One that an earlier load of the extension left there is taken off first, wherever it lies by now.
    """

    def __init__(
        self,
        owner: Any,
        name: str,
        replacement: Callable[..., Any],
        give_way: Callable[[], None] | None = None,
    ) -> None:
        """Put `replacement` in the place of the attribute `name` of `owner`.

        owner: a module, a class or an object.
        replacement: called with the function that it stands in for, and then with what the host calls it with.
        give_way: called when a later patch takes this one's place; takes it off if not given.
        """
        self.owner, self.name = owner, name
        self.active = True
        self.give_way = give_way or self.remove
        # What an earlier load left has a class of its own, for which only `give_way` counts.
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
        """Give the host its own function back; where another extension has wrapped ours, be of no effect instead."""
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
    """Return the patch that `function` belongs to, also one of an earlier load; None if it is not ours.

    What another extension has wrapped around ours with `functools.wraps` carries our mark too, and is theirs.
    """
    patch = getattr(function, _MARK, None)
    return patch if getattr(patch, "function", None) is function else None
