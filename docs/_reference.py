"""What the reference needs to know of the sources: extensions of griffe, which reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from griffe import Class, Extension, Function, Module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from griffe import Alias, Object

# A name in single backticks.
NAME = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")


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


class LinkedNames(Extension):
    """Makes links of the names that docstrings have in backticks."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Change the docstrings of a package that was read."""
        for scope in walk(pkg):
            if scope.docstring is not None:
                scope.docstring.value = NAME.sub(
                    lambda name, scope=scope: link(name, scope, pkg), scope.docstring.value
                )


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


def walk(scope: Object) -> Iterator[Object]:
    """Yield an object and all that is defined in it."""
    yield scope
    for member in scope.members.values():
        if not member.is_alias:
            yield from walk(member)


def link(name: re.Match[str], scope: Object, package: Module) -> str:
    """Return a name as a link to its place in the reference; without one it stays as it is."""
    module = re.sub(r"\.(_\w+|exceptions)$", "", scope.module.path)
    places = [f"{module}.{name[1]}", f"{package.path}.{name[1]}", name[1]]
    for outer in (scope, scope.parent):
        if isinstance(outer, Class):
            places.insert(0, f"{module}.{outer.name}.{name[1]}")
    for place in places:
        if place.startswith(f"{package.path}.") and find(place, package) is not None:
            return f'<autoref identifier="{place}" optional>{name[0]}</autoref>'
    return name[0]


def find(path: str, package: Module) -> Object | Alias | None:
    """Return what a path leads to, through imports too."""
    found: Object | Alias | None = package
    for part in path.split(".")[1:]:
        while found is not None and found.is_alias:
            target = found.target_path
            found = find(target, package) if target.startswith(f"{package.path}.") else None
        if found is None:
            return None
        found = found.members.get(part)
    return found
