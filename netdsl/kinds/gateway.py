"""Whether a gateway is on-link: what the kernel looks up when a route or a nexthop is made (fib_check_nh)."""

from __future__ import annotations

from netdsl.errors import Problem
from netdsl.lang.item import Gone, Item, Need, Relation, World
from netdsl.lang.values import is_v6, network_of


def on_link(item: Item, via: str, dev: str | None, world: World, path: str = "") -> Relation:
    """Needs the address or the route that connects the gateway; where `dev` is not given also the link that has it.

    `path` names the path in errors, where there are several.
    """
    title = f"{item.title}: path {path}" if path else item.title
    if is_v6(via) and network_of("fe80::/10").holds(via):
        if dev is None:
            yield Problem(f"{title}: a link-local gateway needs dev", item.where)
        return
    for family, word in (("address", "address"), ("route", "dst")):
        for key, props in world.inside(item.netns, family):
            link = props.get("dev")
            if not link or (dev is not None and link != dev) or key == item.key:
                continue
            if not props.get("via") and network_of(props[word]).holds(via):
                yield Need(key, Gone.STAY)
                if dev is None:
                    yield Need(("link", item.netns, link), Gone.VANISH)
                return
    beside = f" of {dev}" if dev else ""
    yield Problem(
        f"{title}: gateway {via} is in no connected network{beside}",
        item.where,
        "Give the link an address in the gateway's network, or set onlink=True with dev=...",
    )
