"""Netns: a named network namespace (ip-netns(8))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.kinds.link_wire import mark_op
from netdsl.kinds.shell import quote
from netdsl.kinds.sysctl import FORWARDING, Sysctl
from netdsl.lang import naming
from netdsl.lang.component import prefixed
from netdsl.lang.declaration import Declaration, current, user_frame
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.ops import DropNetns, Env, MakeNetns, Op
from netdsl.lang.property import argument, kind
from netdsl.lang.resource import Namespace
from netdsl.lang.values import BOOL

LOOPBACK = 1
"""The ifindex of lo, in every netns."""


@kind
class Netns(Namespace):
    """A network namespace with a name under /run/netns.

    forwarding  declare IPv4 and IPv6 forwarding on or off: a new netns inherits the one and not the other
    """

    forwarding: bool | None = argument(default=None)

    word = "netns"
    family = "netns"
    marked = True
    phase = 0
    check_name = staticmethod(naming.check_netns)

    @classmethod
    def get(cls, name: str) -> Namespace:
        """A netns that exists already and is never managed."""
        found = Namespace.__new__(Namespace)
        declaration = current()
        found.__dict__.update(
            Namespace.defaults, name=name, _where=user_frame(), _component=declaration.component, _broken=False
        )
        try:
            naming.check_netns(name)
        except ValueError as wrong:
            found.fault(f"Netns.get: {wrong}")
            return found
        if not declaration.observer.netns(name):
            found.fault(f"Netns.get: there is no netns {name!r}")
        return found

    def complete(self, declaration: Declaration) -> None:
        """Put the component's name in front, and declare the forwarding sysctls."""
        mine = self.__dict__
        if mine["netns"] is not None and mine["netns"] is not declaration.netns:
            return self.fault(f"{self.title}: a netns cannot be inside another; leave netns= out")
        mine["netns"] = None
        try:
            mine["name"] = naming.check_netns(prefixed(self.name))
        except ValueError as wrong:
            return self.fault(f"{self.title}: {wrong}")
        forwarding = mine["forwarding"]
        if forwarding is not None:
            try:
                forwarding = BOOL.check(forwarding)
            except ValueError as wrong:
                return self.fault(f"{self.title}: forwarding {wrong}")
        if forwarding is not None:
            for path in FORWARDING:
                Sysctl(path, value=int(forwarding), netns=self, opts=self.opts.inherited())

    @classmethod
    def identity(cls, netns: str, name: str, props: Mapping[str, Any]) -> Key:
        """Its name; netns names are the machine's."""
        return ("netns", "", name)

    @classmethod
    def is_ours(cls, item: Item, have: Have, stack: str) -> bool:
        """The mark on its lo; without it, its cookie."""
        if naming.altname(stack, "lo") in have.marks:
            return True
        if have.props["cookie"] != item.extra.get("cookie"):
            return False
        return bool(item.extra.get("adopted")) or not naming.marked_by_another(stack, "lo", have.marks)

    @classmethod
    def create(cls, item: Item, env: Env) -> Sequence[Op]:
        """unshare, mark lo, bind mount."""
        return [MakeNetns(item.name, mark_op(LOOPBACK, naming.altname(env.stack, "lo")))]

    @classmethod
    def delete(cls, item: Item, env: Env) -> Sequence[Op]:
        """Unmount the name."""
        return [DropNetns(item.name)]

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip netns`."""
        if action in ("create", "delete"):
            return [f"ip netns {'add' if action == 'create' else 'del'} {quote(item.name)}"]
        return []
