"""WireGuard's messages: types of values, attributes with keys in them, and how devices are read (linux/wireguard.h)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from struct import Struct
from typing import Any, TypeAlias

from netdsl import wire
from netdsl.lang import keys
from netdsl.lang.dump import Dump, Scope
from netdsl.lang.item import Have
from netdsl.lang.ops import NETLINK_GENERIC, Generic, KeyFile
from netdsl.lang.values import ValueType, check_ip, check_network, is_v6, pack_ip, unpack_ip

FAMILY, VERSION = "wireguard", 1
CMD_GET_DEVICE, CMD_SET_DEVICE = 0, 1
DEVICE_IFINDEX, DEVICE_PRIVATE_KEY, DEVICE_PUBLIC_KEY = 1, 3, 4
DEVICE_LISTEN_PORT, DEVICE_FWMARK, DEVICE_PEERS = 6, 7, 8
PEER_PUBLIC_KEY, PEER_PRESHARED_KEY, PEER_FLAGS, PEER_ENDPOINT, PEER_KEEPALIVE, PEER_ALLOWED_IPS = 1, 2, 3, 4, 5, 9
ALLOWED_FAMILY, ALLOWED_ADDRESS, ALLOWED_LENGTH = 1, 2, 3
REMOVE_ME, REPLACE_ALLOWED_IPS, UPDATE_ONLY = 1, 2, 4
LINK, PEER = "wireguard", "wireguard-peer"
"""The kinds that one dump shows."""
NO_KEY = bytes(keys.SIZE)
"""What unsets a key."""
_U16 = Struct("=H")
_IN, _IN6 = Struct("=H2s4s8x"), Struct("=H2sI16sI")
"""struct sockaddr_in: family, port, address; struct sockaddr_in6: family, port, flow, address, scope."""
_AF_INET, _AF_INET6 = 2, 10

Parts: TypeAlias = tuple[bytes | KeyFile, ...]
"""A piece of a message, in which keys are to be put."""


def _no_bytes(_value: Any) -> Any:
    raise TypeError("this property is encoded by its kind")


def _check_public(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a key as a string")
    keys.parse(value)
    return value


def _check_path(value: Any) -> str:
    path = fspath(value) if isinstance(value, PathLike) else value
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:  # it is not shown: it may be the key
        raise ValueError("must be the absolute path of a file with the key, which has no place in a program itself")
    return path


def _check_endpoint(value: Any) -> str:
    host, _, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    bracketed = host.startswith("[") and host.endswith("]")
    good = port.isascii() and port.isdigit() and bracketed == (":" in host)
    if not good or not 0 < int(port) <= 65535:
        example = '"192.0.2.1:51820" or "[2001:db8::1]:51820"'
        raise ValueError(f"must be an address and a port of 1..65535 like {example}, not {value!r}")
    return _spell_endpoint(check_ip(host.strip("[]")), int(port))


def _spell_endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if is_v6(address) else f"{address}:{port}"


def _pack_endpoint(value: str) -> bytes:
    host, _, port = value.rpartition(":")
    address, number = pack_ip(host.strip("[]")), int(port).to_bytes(2, "big")
    return _IN6.pack(_AF_INET6, number, 0, address, 0) if len(address) == 16 else _IN.pack(_AF_INET, number, address)


def _unpack_endpoint(payload: bytes) -> str:
    if _U16.unpack_from(payload)[0] == _AF_INET6:
        _, port, _, address, _ = _IN6.unpack_from(payload)
    else:
        _, port, address = _IN.unpack_from(payload)
    return _spell_endpoint(unpack_ip(address), int.from_bytes(port, "big"))


def _check_allowed(value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"must be a list of networks, not {value!r}")
    found = [check_network(part) for part in value]
    twice = next((part for part in found if found.count(part) > 1), None)
    if twice is not None:
        raise ValueError(f"must differ; {twice} is there twice")
    return sorted(found)


def _pack_allowed(value: Sequence[str]) -> bytes:
    packed = b""
    for network in value:
        address, _, length = network.partition("/")
        family = _AF_INET6 if is_v6(address) else _AF_INET
        one = wire.attr(ALLOWED_FAMILY, _U16.pack(family)) + wire.attr(ALLOWED_ADDRESS, pack_ip(address))
        packed += wire.nest(0, one + wire.attr(ALLOWED_LENGTH, bytes((int(length),))))
    return packed


def _unpack_allowed(payload: bytes) -> list[str]:
    found = []
    for _, packed in wire.attr_list(payload):
        one = wire.attrs(packed, 0, len(packed))
        found.append(f"{unpack_ip(one[ALLOWED_ADDRESS])}/{one[ALLOWED_LENGTH][0]}")
    return found


PUBLIC_KEY = ValueType("key in base64", _check_public, _no_bytes, lambda p: keys.spell(p) if any(p) else "")
KEY_FILE = ValueType("absolute path", _check_path, _no_bytes, _no_bytes)
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


def _check_fingerprint(value: Any) -> str:
    if not isinstance(value, str) or not _FINGERPRINT.fullmatch(value):
        raise ValueError("must be 16 hexadecimal digits")
    return value


FINGERPRINT = ValueType("16 hexadecimal digits", _no_bytes, _no_bytes, _no_bytes, recorded=_check_fingerprint)
ENDPOINT = ValueType("address:port", _check_endpoint, _pack_endpoint, _unpack_endpoint)
ALLOWED_IPS = ValueType("list of network/prefix", _check_allowed, _pack_allowed, _unpack_allowed)


def key(number: int, path: str | None, proof: str | None, peer: str = "") -> Parts:
    """An attribute with the key of which the proof is; without a proof it unsets the key.

    A key that is in no file cannot be set: then there is no attribute.
    """
    if proof and path is None:
        return ()
    start = wire.ATTR.pack(wire.ATTR.size + keys.SIZE, number)
    return (start, KeyFile(path, proof, peer) if path is not None and proof else NO_KEY)


def nest(number: int, parts: Parts) -> Parts:
    """An attribute that holds attributes."""
    size = sum(keys.SIZE if isinstance(part, KeyFile) else len(part) for part in parts)
    return (wire.ATTR.pack(wire.ATTR.size + size, number | wire.NESTED), *parts)


def set_device(ifindex: int, parts: Parts) -> Generic:
    """WG_CMD_SET_DEVICE."""
    return Generic(FAMILY, CMD_SET_DEVICE, VERSION, (wire.attr_u32(DEVICE_IFINDEX, ifindex), *parts))


def _bodies(scope: Scope) -> Sequence[bytes] | None:
    """One for each device that somebody asks about, or about whose peers."""
    wanted = {*scope.wanted("link"), *(("link", scope.netns, name) for _, _, name, _ in scope.wanted(PEER))}
    names = {key[2] for key in wanted if key in scope.found and scope.found[key].kind == LINK}
    start = wire.GENERIC.pack(CMD_GET_DEVICE, VERSION)
    return [start + wire.attr_u32(DEVICE_IFINDEX, i) for i, name in scope.links.items() if name in names] or None


def _read(buffer: bytes, start: int, end: int, scope: Scope) -> None:
    """One message of a device; only the first of several says which one. The private key, which it shows too, is
    left alone."""
    found = wire.attrs(buffer, start + wire.GENERIC.size, end)
    if DEVICE_IFINDEX in found:
        name = scope.links.get(wire.U32.unpack(found[DEVICE_IFINDEX])[0], "")
        scope.current = ("link", scope.netns, name)
        props = {
            "listen_port": _U16.unpack_from(found[DEVICE_LISTEN_PORT])[0],
            "fwmark": wire.U32.unpack(found[DEVICE_FWMARK])[0],
            "public_key": PUBLIC_KEY.unpack(found.get(DEVICE_PUBLIC_KEY, NO_KEY)),
        }
        asked = scope.interest.get(scope.current, ())
        have = scope.found.get(scope.current)
        if have is not None:
            have.props.update({name: value for name, value in props.items() if name in asked})
    for _, packed in wire.attr_list(found.get(DEVICE_PEERS, b"")):
        _read_peer(wire.attrs(packed, 0, len(packed)), scope)


def _read_peer(found: Mapping[int, bytes], scope: Scope) -> None:
    """A peer, or more of its allowed networks: they may not fit into the message where the rest of it is."""
    public, dev = keys.spell(found[PEER_PUBLIC_KEY]), scope.current[2]
    identity = (PEER, scope.netns, dev, public)
    if identity not in scope.interest:
        return
    allowed = _unpack_allowed(found.get(PEER_ALLOWED_IPS, b""))
    if identity in scope.found:
        props = scope.found[identity].props
        props["allowed_ips"] = sorted([*props["allowed_ips"], *allowed])
        return
    shared = found.get(PEER_PRESHARED_KEY, NO_KEY)
    endpoint, keepalive = found.get(PEER_ENDPOINT), found.get(PEER_KEEPALIVE)
    scope.found[identity] = Have(
        PEER,
        {
            "dev": dev,
            "public_key": public,
            "preshared_fingerprint": keys.proof(shared, public) if any(shared) else "",
            "endpoint": _unpack_endpoint(endpoint) if endpoint else "",
            "allowed_ips": sorted(allowed),
            "persistent_keepalive": _U16.unpack_from(keepalive)[0] if keepalive else 0,
        },
    )


DEVICES = Dump("WireGuard devices", 0, _bodies, _read, None, NETLINK_GENERIC, FAMILY)
