"""What the reference needs to know of stubs: an extension of griffe, which reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from griffe import Class, Extension, Function, Module

if TYPE_CHECKING:
    from griffe import Object


class StubsAlone(Extension):
    """Completes what griffe would find in a module's source, which an extension module lacks.

    Functions that are all overloads become members, and `__new__` says what a class is called with.
    """

    def on_members(self, *, obj: Object, **_: Any) -> None:
        """Complete a module or class that was read, before a stub is merged with its source."""
        if not isinstance(obj, (Module, Class)) or not is_stub(obj):
            return
        for name, overloads in obj.overloads.items():
            if overloads and name not in obj.members:
                *others, last = overloads
                function = copy(last, name)
                function.docstring = overloads[0].docstring
                function.overloads = others
                obj.set_member(name, function)
        new = obj.members.get("__new__")
        if isinstance(new, Function) and "__init__" not in obj.members:
            obj.set_member("__init__", copy(new, "__init__"))
        if isinstance(obj, Class):
            obj.members = dict(sorted(obj.members.items(), key=lambda item: item[1].lineno or 0))


def is_stub(scope: Object) -> bool:
    """Tell whether something is part of a stub."""
    return isinstance(scope.filepath, Path) and scope.filepath.suffix == ".pyi"


def copy(function: Function, name: str) -> Function:
    """Return a function with another one's signature."""
    made = Function(
        name,
        lineno=function.lineno,
        endlineno=function.endlineno,
        parameters=function.parameters,
        returns=function.returns if name != "__init__" else None,
    )
    made.labels |= function.labels
    return made
