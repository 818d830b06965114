"""Registries: things of one kind by name, the project's own and those that installed packages add.

A package adds one through an entry point of the kind's group, for example in its `setup.cfg`::

    [options.entry_points]
    mura.networks = my_network = my_package.my_module:MyNetwork

Listing the names imports nothing; a plug-in is imported when it is first asked for by name.
"""

from __future__ import annotations

import difflib
import importlib
import re
import reprlib
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from mura_env.errors import UserError

Item = TypeVar("Item")
Registered = TypeVar("Registered")

_OWN_PACKAGES = {"mura_env", "base_models", "agents", "mura_app"}
NAME = r"[A-Za-z][A-Za-z0-9_.-]*"
"""What a name is made of: it becomes part of the names of files."""


class Registry(Generic[Item]):
    """Everything of one kind that can be asked for by name.

    Args:
        kind: What one of them is called in messages, such as `agent`.
        group: Group of the entry points that plug-ins use, such as `mura.agents`.
        expected: What an entry point has to name, for messages, such as `a class derived from agents.Agent`.
        accepts: Say whether an object that an entry point names is of this kind.
        modules: Modules that register the project's own when they are imported, by name; imported when first
            asked for. Those that are registered at once need no entry.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        expected: str,
        accepts: Callable[[Any], bool],
        modules: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.kind = kind
        self.group = group
        self._expected = expected
        self._accepts = accepts
        self._modules = modules
        self._items: dict[str, Item] = {}

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that makes something available by name, unless something else has it already.

        A name consists of letters, digits, `_`, `.` and `-`, and begins with a letter.
        """
        if not re.fullmatch(NAME, name):
            raise UserError(
                f"expected a name of letters, digits, '_', '.' and '-' for the {self.kind}, "
                f"got {reprlib.repr(name)}; choose another"
            )

        def add(item: Any) -> Any:
            if not self._accepts(item):
                raise UserError(f"expected {self._expected} as the {self.kind} {name!r}, got {item!r}")
            module = getattr(item, "__module__", None)
            if name in self._items and _path(self._items[name]) != _path(item):
                raise self._taken(name, _path(self._items[name]))
            if self._modules.get(name, module) != module:
                raise self._taken(name, self._modules[name])
            self._items[name] = item
            return item

        return add

    def registered(self) -> dict[str, Item]:
        """Return by name what scripts, notebooks and plug-ins have registered in this process.

        For `add` in the processes that it starts: they run no script, and are to know the same.
        """
        return {
            name: item for name, item in self._items.items() if _path(item).split(".")[0] not in _OWN_PACKAGES
        }

    def add(self, items: Mapping[str, Item]) -> None:
        """Register by name what another process has `registered`."""
        for name, item in items.items():
            self.register(name)(item)

    def names(self) -> tuple[str, ...]:
        """Return all names: the project's own, what else has been registered, then the plug-ins, sorted."""
        known = dict.fromkeys((*self._modules, *self._items))
        return (*known, *sorted(self._plug_ins().keys() - known.keys()))

    def __contains__(self, name: object) -> bool:
        """Say whether something of this name can be asked for; nothing is imported."""
        return name in self._items or name in self._modules or name in self._plug_ins()

    def __getitem__(self, name: str) -> Item:
        """Return what is registered under a name; its module or plug-in is imported if need be."""
        if name not in self._items:
            if name in self._modules:
                importlib.import_module(self._modules[name])
            elif name in (plug_ins := self._plug_ins()):
                self._load(name, plug_ins[name])
            else:
                close = difflib.get_close_matches(name, self.names(), n=1)
                meant = f"; did you mean {close[0]!r}?" if close else ""
                own = "" if close else "; one of your own is known when its file is named with --import FILE"
                raise UserError(
                    f"expected one of the {self.kind}s {', '.join(self.names())}, got "
                    f"{reprlib.repr(name)}{meant}{own}"
                )
        return self._items[name]

    def origin(self, name: str) -> str:
        """Return who adds a name: `built in`, or the package or module of a plug-in; nothing is imported."""
        if name in self._modules:
            return "built in"
        if name in (plug_ins := self._plug_ins()) and name not in self._items:
            return " and ".join(dict.fromkeys(map(_package, plug_ins[name])))
        module = _path(self._items[name]).rpartition(".")[0]
        if module.split(".")[0] in _OWN_PACKAGES:
            return "built in"
        packages = [_package(entry) for entry in plug_ins.get(name, []) if entry.module == module]
        return packages[0] if packages else module

    def _plug_ins(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for entry_point in entry_points(group=self.group):
            found.setdefault(entry_point.name, []).append(entry_point)
        return found

    def _load(self, name: str, found: list[EntryPoint]) -> None:
        packages = " and ".join(map(_package, found))
        if len({entry_point.value for entry_point in found}) > 1:
            raise UserError(
                f"expected one package with a {self.kind} {name!r}, got {packages}; uninstall one of them"
            )
        origin = f"the plug-in {found[0].value!r} of the package {_package(found[0])}"
        try:
            loaded = found[0].load()
        except Exception as error:
            raise UserError(
                f"expected the {self.kind} {name!r} from {origin}, which cannot be imported: {error}; "
                "repair or uninstall that package"
            ) from error
        if name in self._items:  # its module has registered it by decorator
            return
        if not self._accepts(loaded):
            raise UserError(
                f"expected {self._expected} as the {self.kind} {name!r} from {origin}, got {loaded!r}"
            )
        self.register(name)(loaded)

    def _taken(self, name: str, owner: str) -> UserError:
        return UserError(f"the {self.kind} name {name!r} is taken by {owner}; choose another")


def _path(item: Any) -> str:
    named = item if hasattr(item, "__qualname__") else type(item)
    return f"{named.__module__}.{named.__qualname__}"


def _package(entry_point: EntryPoint) -> str:
    return entry_point.dist.name if entry_point.dist is not None else "unknown"
