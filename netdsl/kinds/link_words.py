"""Links in the words of `ip` and `bridge`: the commands that do what the messages do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from netdsl.kinds.shell import ip, netns_option, option, quote
from netdsl.lang.item import Item
from netdsl.lang.ops import Env
from netdsl.lang.property import Property, kind
from netdsl.lang.resource import Resource

PLACES = ("link", "info", "port", "late", "flag", "unflag", "")
"""Where in its messages a link's property can be."""


@kind
class SpokenLink(Resource):
    """The base of links, as far as words need it."""

    _places: ClassVar[Mapping[str, tuple[Property, ...]]] = {}
    finishes_up: ClassVar[bool] = False
    """Brought up only when its ports are up: a live bridge floods each port that comes up with the others' chatter."""

    unborn: ClassVar[frozenset[str]] = frozenset()
    """Properties of the link that its creation does not take."""

    @property
    def sort(self) -> str:
        """What it is, where its master does not take that."""
        return type(self).__name__

    @classmethod
    def places(cls) -> Mapping[str, tuple[Property, ...]]:
        """Properties by their place in the message."""
        if "_places" not in cls.__dict__:
            groups: dict[str, list[Property]] = {at: [] for at in PLACES}
            for declared in cls.properties.values():
                groups.setdefault(declared.at, []).append(declared)
            cls._places = {at: tuple(group) for at, group in groups.items()}
        return cls._places

    @classmethod
    def words(cls, at: str, props: Mapping[str, Any]) -> str:
        """The options of one place as `ip` takes them."""
        return "".join(
            option(p.word, p.type.spoken(props[p.name])) for p in cls.places()[at] if props.get(p.name) is not None
        )

    @classmethod
    def type_words(cls, props: Mapping[str, Any]) -> str:
        """The kind as `ip` calls it."""
        return cls.word

    @classmethod
    def commands(cls, action: str, item: Item, changed: Mapping[str, Any], env: Env) -> Sequence[str]:
        """`ip link` commands."""
        if action == "delete":
            return [ip(item.netns, f"link del dev {quote(item.name)}")]
        if action == "finish":
            mtu = f" mtu {item.props['mtu']}" if "mtu" in item.props else ""
            return [ip(item.netns, f"link set dev {quote(item.name)}{mtu}{' up' if item.props.get('up') else ''}")]
        if action == "create":
            bonded = cls.bonded(item, env)
            return [*cls.add_command(item, env), *cls.set_commands(item, item.props, created=True, bonded=bonded)]
        info = {p.name: changed[p.name] for p in cls.places()["info"] if p.name in changed}
        found = list(cls.set_commands(item, changed, created=False, bonded=cls.bonded(item, env)))
        if info:
            found.insert(
                0,
                ip(
                    item.netns,
                    f"link set dev {quote(item.name)} type {cls.type_words(item.props)}{cls.words('info', changed)}",
                ),
            )
        return found

    @classmethod
    def add_command(cls, item: Item, env: Env) -> list[str]:
        """`ip link add`; options of the link stand before its type."""
        props = {k: v for k, v in item.props.items() if k != "master"}
        words = f"link add name {quote(item.name)}{cls.words('link', props)} type {cls.type_words(props)}"
        return [ip(item.netns, words + cls.words("info", props))]

    @classmethod
    def bonded(cls, item: Item, env: Env) -> bool:
        """Whether its master is a bond, which takes only links that are down, and brings them up (bond_enslave)."""
        if not item.props.get("master"):
            return False
        try:
            return env.item(("link", item.netns, item.props["master"])).kind.word == "bond"
        except LookupError:
            return False

    @classmethod
    def set_commands(cls, item: Item, props: Mapping[str, Any], *, created: bool, bonded: bool) -> Iterator[str]:
        """`ip link set` for what `add` does not take (after creation) or for changed properties."""
        master, silent = props.get("master"), created and (cls.finishes_up or not props.get("up"))
        if (bonded and master) or ("mac" in props and not created and "master" in props):  # it joins or leaves a bond
            joins = option("master", master) if master else " nomaster"
            if bonded and not created:
                yield ip(item.netns, f"link set dev {quote(item.name)} down")
            yield ip(item.netns, f"link set dev {quote(item.name)}{joins}")
            props = {k: v for k, v in props.items() if k != "master"}
            props |= {"up": item.props["up"]} if "up" in item.props else {}
            silent = False
        rest = cls.unborn if created else frozenset(props) - {"master"}
        words = cls.words("link", {k: v for k, v in props.items() if k in rest})
        words += cls.words("late", props) + cls.words("flag", props) + cls.words("unflag", props)
        if "master" in props:
            words += f" master {quote(props['master'])}" if props["master"] else " nomaster"
        if props.get("up") is not None and not silent:
            words += " up" if props["up"] else " down"
        if words:
            yield ip(item.netns, f"link set dev {quote(item.name)}{words}")
        port = cls.words("port", {**item.props, **props} if master else props)
        if port:
            yield f"bridge {netns_option(item.netns)}link set dev {quote(item.name)}{port}"
