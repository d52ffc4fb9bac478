"""Looking at the kernel: a few dumps for each netns, whatever the number of objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from netdsl.kinds import LINKS
from netdsl.lang.dump import Dump, Files, Scope
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.naming import altname
from netdsl.lang.resource import Resource


class Target(Protocol):
    """What observing needs of a kernel."""

    def netns_names(self) -> set[str]: ...
    def open(self, wanted: Iterable[str]) -> None: ...
    def cookie(self, netns: str) -> int: ...
    def read(self, dump: Dump, scope: Scope) -> None: ...
    def read_files(self, wanted: Sequence[tuple[str, str]], meanwhile: Callable[[], None]) -> list[str | None]: ...
    def nsid(self, netns: str, other: str) -> int: ...
    def key_proof(self, path: str, peer: str) -> str: ...


@attrs.define(eq=False, repr=False)
class Observation:
    """The kernel at one moment.

    found    every object seen in the netns looked at, by identity
    scopes   by netns: its links by ifindex, and all that was found there
    """

    found: dict[Key, Have] = attrs.field(factory=dict)
    scopes: dict[str, Scope] = attrs.field(factory=dict)

    def ifindexes(self) -> dict[tuple[str, str], int]:
        """ifindex of every link seen, by netns and name."""
        return {(netns, name): index for netns, scope in self.scopes.items() for index, name in scope.links.items()}


class Look:
    """A look at every netns that some items are about, and at others; one netns after the other, or all at once.

    What the kernel does not show of an object is taken to be as the last of its items says: those that are recorded
    come last.
    """

    def __init__(self, target: Target, items: Iterable[Item], also: Iterable[str] = ()) -> None:
        interest: dict[str, dict[Key, set[str]]] = {netns: {} for netns in also}
        kinds: set[type[Resource]] = set()
        self._wanted_netns: set[str] = set()
        self._veiled: list[Item] = []
        for item in items:
            kinds.add(item.kind)
            if item.kind.unseen:
                self._veiled.append(item)
            if item.key[0] == "netns":
                self._wanted_netns.add(item.key[2])
                continue
            netns_interest = interest.get(item.netns)
            if netns_interest is None:
                netns_interest = interest[item.netns] = {}
            known = netns_interest.get(item.key)
            if known is None:
                netns_interest[item.key] = set(item.props)
            else:
                known.update(item.props)
            for need in item.needs if item.kind.is_link else ():
                if (
                    need.key[0] == "link" and need.key[1] not in interest
                ):  # its name is what shows it: look at its links
                    interest[need.key[1]] = {}
        existing = target.netns_names()
        names = sorted(netns for netns in self._wanted_netns | set(interest) if not netns or netns in existing)
        self._target = target
        self._scopes = {netns: Scope(netns, interest.get(netns, {})) for netns in names}
        self._dumps: list[Dump] = [LINKS]  # the others need their names
        self._files: list[Files] = []
        for dump in dict.fromkeys(dump for kind in sorted(kinds, key=_word) for dump in kind.dumps):
            if isinstance(dump, Files):
                self._files.append(dump)
            elif dump is not LINKS:
                self._dumps.append(dump)
        self._read: set[str] = set()
        self._filed: set[str] = set()

    def read(self, netns: str) -> None:
        """Dump one netns, unless it was or there is none of that name."""
        scope = self._scopes.get(netns)
        if scope is not None and netns not in self._read:
            for dump in self._dumps:
                self._target.read(dump, scope)
            self._read.add(netns)

    def read_files(self) -> None:
        """Read the files of the netns that were dumped."""
        self._read_files(self._read)

    def _read_files(self, names: Iterable[str], meanwhile: Callable[[], None] = lambda: None) -> None:
        scopes = [self._scopes[netns] for netns in names if netns not in self._filed]
        self._filed.update([scope.netns for scope in scopes])
        wanted = [
            (files, scope, key, path)
            for files in self._files
            for scope in scopes
            for key, path in files.paths(scope)
        ]  # fmt: skip
        contents = self._target.read_files([(scope.netns, path) for _, scope, _, path in wanted], meanwhile)
        for (files, scope, key, _), content in zip(wanted, contents, strict=True):
            if content is not None:
                files.read(key, content, scope)

    def finish(self) -> Observation:
        """Look at all that was not looked at yet; what was seen."""
        scopes = list(self._scopes.values())
        self._read_files(self._scopes, self._read_rest)
        for dump in self._dumps:
            if dump.settle is not None:
                dump.settle(scopes, self._target.nsid)
        seen = Observation(scopes=self._scopes)
        for scope in scopes:
            seen.found.update(scope.found)
            if scope.netns in self._wanted_netns:
                lo = scope.found.get(("link", scope.netns, "lo"))
                marks = lo.marks if lo is not None else ()
                cookie = self._target.cookie(scope.netns)
                seen.found[("netns", "", scope.netns)] = Have("netns", {"cookie": cookie}, marks=marks)
        for item in self._veiled:
            have = seen.found.get(item.key)
            if have is not None:
                have.props.update({name: item.props[name] for name in item.kind.unseen if name in item.props})
        return seen

    def _read_rest(self) -> None:
        rest = [netns for netns in self._scopes if netns not in self._read]
        self._target.open(rest)
        for netns in rest:
            self.read(netns)


def _word(kind: type[Resource]) -> str:
    return kind.word


def observe(target: Target, items: Iterable[Item], also: Iterable[str] = ()) -> Observation:
    """Look at every netns that the items are about, and at others."""
    return Look(target, items, also).finish()


def remembered(stack: str, recorded: Iterable[Item]) -> Observation:
    """The kernel as the state remembers it."""
    seen = Observation()
    for item in recorded:
        if not item.extra.get("unsettled"):
            word = getattr(item.kind, "kernel", "") or item.kind.word
            marks = (altname(stack, item.name), altname(stack, "lo"))
            props = {**item.props, "cookie": item.extra["cookie"]} if "cookie" in item.extra else dict(item.props)
            seen.found[item.key] = Have(word, props, item.extra.get("ifindex", 0), marks)
    return seen


class LiveObserver:
    """Reads links, netns and outputs for a program that asks for them (lang.declaration.Observer)."""

    def __init__(
        self,
        target: Target,
        links: Dump,
        properties: Iterable[str],
        outputs: Callable[[str], Mapping[str, Any] | None],
    ) -> None:
        self._outputs = outputs
        self._target = target
        self._links = links
        self._properties = tuple(properties)

    def link(self, netns: str, name: str) -> Mapping[str, object] | None:
        """Properties of a link, or None."""
        if netns and netns not in self._target.netns_names():
            return None
        key = ("link", netns, name)
        scope = Scope(netns, {key: self._properties})
        self._target.read(self._links, scope)
        have = scope.found.get(key)
        return None if have is None else {word: have.props.get(word) for word in ("mac", "mtu", "up", "alias")}

    def netns(self, name: str) -> bool:
        """Whether a netns of that name exists."""
        return name in self._target.netns_names()

    def outputs(self, stack: str) -> Mapping[str, Any] | None:
        """Outputs of a recorded stack, or None."""
        return self._outputs(stack)

    def key_proof(self, path: str, peer: str) -> str:
        """What may be told of the key in a file. Raises ValueError."""
        return self._target.key_proof(path, peer)
