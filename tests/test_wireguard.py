"""WireGuard: mistakes, what is sent, two sites joined by it, and keys that are seen nowhere."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.generic.wireguard import wgmsg  # type: ignore[import-untyped]
from test_bad_input import marked, the_error

import netdsl
from keyfiles import ThoughtUp, named, public
from labs import RECORD, STACKS, answers, plan_of
from netdsl import wire
from netdsl.engine.compile import Encoding, all_steps, assign_ifindexes
from netdsl.engine.deploy import relate_offline
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.lang import keys
from netdsl.lang.ops import Generic
from netdsl.lang.stack import declare
from sandbox import Sandbox

SITES = str(STACKS / "wireguard.py")
A, B, C = (public(name) for name in "abc")


def private(name: str) -> bytes:
    """A private key as `wg genkey` makes it: some bits are set as the kernel would set them (RFC 7748, section 5)."""
    key = bytearray(named(name))
    key[0], key[31] = key[0] & 248, key[31] & 127 | 64
    return bytes(key)


def write(path: Path, key: bytes, mode: int = 0o600) -> Path:
    """A file with a key."""
    path.touch(0o600)
    path.write_text(keys.spell(key) + "\n")
    path.chmod(mode)
    return path


def program(folder: Path, body: str) -> Path:
    """A program with one stack, `lab`, and the key files that it may name."""
    for name, key in (("a", private("a")), ("b", private("b")), ("p", named("p"))):
        write(folder / name, key)
    write(folder / "open", private("open"), 0o644)
    (folder / "short").write_text(keys.spell(private("short"))[:-5])
    (folder / "short").chmod(0o600)
    path = folder / "lab.py"
    head = f"from netdsl import *\nF, A, B, C = {str(folder) + '/'!r}, {A!r}, {B!r}, {C!r}\n\n@stack\ndef lab():\n"
    path.write_text(head + textwrap.indent(textwrap.dedent(body).strip(), "    ") + "\n")
    return path


# Mistakes

WG0 = 'wg0 = WireGuard("wg0", private_key_file=F + "a")\n'
SECRETS = [private("a"), private("b"), named("p"), private("open"), private("short")]
KEY_ITSELF = keys.spell(private("a"))

MISTAKES: dict[str, tuple[str, Sequence[str]]] = {
    "the key in place of its file": (
        f'WireGuard("wg0", private_key_file="{KEY_ITSELF}")  # here',
        ["WireGuard 'wg0': private_key_file must be the absolute path of a file with the key"],
    ),
    "the key as such": (
        f'WireGuard("wg0", private_key="{KEY_ITSELF}")  # here',
        ["WireGuard 'wg0' has no property 'private_key'", "private_key_file"],
    ),
    "a relative path": (
        'WireGuard("wg0", private_key_file="a")  # here',
        ["private_key_file must be the absolute path"],
    ),
    "a path with NUL": ('WireGuard("wg0", private_key_file="/a\\0")  # here', ["must be the absolute path"]),
    "no file": (
        'WireGuard("wg0", private_key_file=F + "none")  # here',
        ["/none cannot be read: No such file or directory", "(umask 077; wg genkey >"],
    ),
    "no file with a preshared key": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, preshared_key_file=F + "none")  # here',
        ["preshared_key_file", "/none cannot be read: No such file or directory", "(umask 077; wg genpsk >"],
    ),
    "a folder": ('WireGuard("wg0", private_key_file=F)  # here', ["is no file"]),
    "a file that all may read": (
        'WireGuard("wg0", private_key_file=F + "open")  # here',
        ["private_key_file", "/open has mode 0644: others have access to the key", "chmod 600 "],
    ),
    "a file without a key": (
        'WireGuard("wg0", private_key_file=F + "short")  # here',
        ["/short holds no key: it must be 32 bytes in base64", "`wg genkey` makes one"],
    ),
    "a public key that is none": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B[1:])  # here',
        ["WireGuardPeer 'b': public_key must be 32 bytes in base64"],
    ),
    "no public key": (WG0 + 'WireGuardPeer("b", dev=wg0)  # here', ["WireGuardPeer 'b': public_key= is required"]),
    "its own public key": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=A)  # here',
        ["WireGuardPeer 'b': its public key is that of WireGuard 'wg0' itself"],
    ),
    "one public key twice": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B)\nWireGuardPeer("c", dev=wg0, public_key=B)  # here',
        ["WireGuardPeer 'c dev wg0' and WireGuardPeer 'b dev wg0' are one kernel object"],
    ),
    "an endpoint without a port": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, endpoint="192.0.2.1")  # here',
        ["endpoint must be an address and a port of 1..65535 like", "not '192.0.2.1'"],
    ),
    "an endpoint with port 0": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, endpoint="192.0.2.1:0")  # here',
        ["endpoint must be an address and a port of 1..65535 like"],
    ),
    "an endpoint by its name": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, endpoint="example.net:7")  # here',
        ["endpoint must be an IP address", "not 'example.net'"],
    ),
    "an IPv6 endpoint without brackets": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, endpoint="2001:db8::1:51820")  # here',
        ["endpoint must be an address and a port of 1..65535 like", "[2001:db8::1]:51820"],
    ),
    "networks in one string": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, allowed_ips="10.0.0.0/24")  # here',
        ["allowed_ips must be a list of networks, not '10.0.0.0/24'"],
    ),
    "a network with host bits": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, allowed_ips=["10.0.0.1/24"])  # here',
        ["allowed_ips has bits set beyond its prefix: the network of 10.0.0.1/24 is 10.0.0.0/24"],
    ),
    "an address that is no network": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, allowed_ips=["10.0.0.1"])  # here',
        ["allowed_ips must be a network in CIDR form"],
    ),
    "a network twice": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, allowed_ips=["fd00::/64", "fd00:0::/64"])  # here',
        ["allowed_ips must differ; fd00::/64 is there twice"],
    ),
    "a network of two peers": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, allowed_ips=["10.0.0.0/24"])\n'
        'WireGuardPeer("c", dev=wg0, public_key=C, allowed_ips=["10.0.0.0/24"])  # here',
        ["WireGuardPeer 'c': 10.0.0.0/24 is allowed to WireGuardPeer 'b' already, and can only be to one"],
    ),
    "too long a keepalive": (
        WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B, persistent_keepalive=65536)  # here',
        ["persistent_keepalive must be between 0 and 65535, not 65536"],
    ),
    "a peer of something else": (
        'WireGuardPeer("b", dev=Bridge("br0"), public_key=B)  # here',
        ["WireGuardPeer 'b': dev must be a WireGuard, not <Bridge 'br0'>"],
    ),
    "port 0": ('WireGuard("wg0", listen_port=0)  # here', ["listen_port must be between 1 and 65535, not 0"]),
    "one port twice": (
        'WireGuard("wg0", listen_port=7)\nWireGuard("wg1", listen_port=7)  # here',
        ["WireGuard 'wg1': listen_port 7 is that of WireGuard 'wg0' too"],
    ),
    "too large a mark": ('WireGuard("wg0", fwmark=2**32)  # here', ["fwmark must be between 0 and 4294967295"]),
    "a MAC address": ('WireGuard("wg0", mac="02:00:00:00:00:01")  # here', ["WireGuard 'wg0' has no property 'mac'"]),
    "a port of a bridge": (
        'WireGuard("wg0", master=Bridge("br0"))  # here',
        ["WireGuard 'wg0': Bridge 'br0' takes no "],
    ),
}


@pytest.mark.parametrize(("body", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_at_its_line(sandbox: Sandbox, tmp_path: Path, body: str, words: Sequence[str]) -> None:
    """up ends with exit code 1 and one error at the user's line that says why, shows no key, and touches nothing."""
    before = sandbox.dump()
    path = program(tmp_path, body)
    said = the_error(sandbox.netdsl("up", path.name, "--yes", check=False, cwd=tmp_path))
    assert said.removeprefix("error: ").partition(": ")[0] in marked(path)
    for word in words:
        assert word in said
    assert not leaks(said.encode(), SECRETS)
    assert sandbox.dump() == before


def test_a_tunnel_with_a_mistake_is_told_once(sandbox: Sandbox, tmp_path: Path) -> None:
    """What refers to the public key of a tunnel whose key file is wrong is no mistake of its own."""
    path = program(
        tmp_path,
        """
        bad, wg0 = WireGuard("bad", private_key_file=F + "none"), WireGuard("wg0", private_key_file="a", mtu=1)
        WireGuardPeer("bad", dev=wg0, public_key=bad.public_key)
        WireGuardPeer("wg0", dev=bad, public_key=wg0.public_key)
        """,
    )
    done = sandbox.netdsl("plan", str(path), check=False)
    assert done.stderr.count("error: ") == 3, done.stderr
    assert "WireGuardPeer" not in done.stderr


def test_a_kernel_without_wireguard_is_told_before_the_first_write(sandbox: Sandbox, tmp_path: Path) -> None:
    """One error names the kernel option and all that needs it, and nothing is written."""
    kinds = {kind["kind"]: kind["lacks"] for kind in json.loads(sandbox.netdsl("kinds", "--json").stdout)["kinds"]}
    if not kinds["WireGuard"]:
        pytest.skip("this kernel has WireGuard")
    assert kinds["WireGuard"] == kinds["WireGuardPeer"] == ["wireguard"]
    path = program(tmp_path, 'Bridge("br0")\n' + WG0 + 'WireGuardPeer("b", dev=wg0, public_key=B)')
    before = sandbox.dump()
    said = the_error(sandbox.netdsl("up", str(path), "--yes", check=False))
    assert "offers no wireguard (CONFIG_WIREGUARD), which WireGuard 'wg0' and WireGuardPeer 'b dev wg0' need" in said
    assert sandbox.dump() == before
    assert "wg set wg0 private-key" in sandbox.netdsl("plan", "--offline", "--commands", str(path)).stdout


# Messages


def messages(body: str) -> list[Any]:
    """The messages of generic netlink that create what a stack declares, as pyroute2 reads them."""
    names: dict[str, Any] = {name: getattr(netdsl, name) for name in netdsl.__all__}
    exec("@stack\ndef lab():\n" + textwrap.indent(textwrap.dedent(body).strip(), "    "), names)
    items = relate_offline(declare(names["lab"], "lab", {}, observer=ThoughtUp()).items)
    plan = make_plan("lab", items, [], Observation())
    assign_ifindexes(plan, Observation(), [])
    encoding = Encoding(plan, Observation(), lambda netns: 0)
    found = []
    for op in (op for step in all_steps(plan) for op in step.ops(encoding) if isinstance(op, Generic)):
        body_bytes = b"".join(p if isinstance(p, bytes) else named(p.path.rpartition("/")[2]) for p in op.body)
        message = wgmsg(wire.message(30, wire.F_REQUEST, 1, wire.GENERIC.pack(op.command, op.version) + body_bytes))
        message.decode()
        assert (op.family, message["cmd"], message["version"]) == ("wireguard", 1, 1)
        found.append(message)
    return found


def test_a_tunnel_is_read_by_pyroute2_as_it_is_meant() -> None:
    """pyroute2 reads ifindex, private key, port and mark out of what is sent for a tunnel."""
    (message,) = messages('WireGuard("wg0", listen_port=51820, fwmark=7, private_key_file="/a")')
    assert message.get_attr("WGDEVICE_A_IFINDEX") == 1 << 20
    assert message.get_attr("WGDEVICE_A_PRIVATE_KEY") == base64.b64encode(named("a"))
    assert message.get_attr("WGDEVICE_A_LISTEN_PORT") == 51820
    assert message.get_attr("WGDEVICE_A_FWMARK") == 7
    assert len(message["attrs"]) == 4


@pytest.mark.parametrize(("endpoint", "address"), [("192.0.2.1:7", "192.0.2.1"), ("[2001:db8::1]:7", "2001:db8::1")])
def test_a_peer_is_read_by_pyroute2_as_it_is_meant(endpoint: str, address: str) -> None:
    """pyroute2 reads everything about a peer out of what is sent for it."""
    (message,) = messages(
        f"""
        wg0 = WireGuard("wg0")
        WireGuardPeer("b", dev=wg0, public_key="{B}", preshared_key_file="/p", endpoint="{endpoint}",
                      persistent_keepalive=25, allowed_ips=["10.0.0.0/24", "fd00::/64"])
        """
    )
    (peer,) = message.get_attr("WGDEVICE_A_PEERS")
    assert peer.get_attr("WGPEER_A_PUBLIC_KEY") == B.encode()
    assert peer.get_attr("WGPEER_A_PRESHARED_KEY") == base64.b64encode(named("p"))
    assert peer.get_attr("WGPEER_A_FLAGS") == 2  # WGPEER_F_REPLACE_ALLOWEDIPS
    there = peer.get_attr("WGPEER_A_ENDPOINT")
    assert (there["addr"], there["port"]) == (address, 7)
    assert peer.get_attr("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") == 25
    assert [part["addr"] for part in peer.get_attr("WGPEER_A_ALLOWEDIPS")] == ["10.0.0.0/24", "fd00::/64"]
    assert len(peer["attrs"]) == 6


def test_many_networks_are_sent_in_several_messages() -> None:
    """What does not fit into one message follows in others, of which only the first puts an end to older networks."""
    many = [f"fd00:{i:x}::/32" for i in range(2500)]
    found = messages(f'WireGuardPeer("b", dev=WireGuard("wg0"), public_key="{B}", allowed_ips={many!r})')
    peers = [peer for message in found for peer in message.get_attr("WGDEVICE_A_PEERS")]
    assert [peer.get_attr("WGPEER_A_FLAGS") for peer in peers] == [2, 4, 4]  # then WGPEER_F_UPDATE_ONLY
    sent = [part["addr"] for peer in peers for part in peer.get_attr("WGPEER_A_ALLOWEDIPS")]
    assert sorted(sent) == sorted(str(ip_network(network)) for network in many)


# Secrets


def forms(key: bytes) -> Iterator[bytes]:
    """How a key could be written."""
    text = base64.b64encode(key)
    yield from (key, text.rstrip(b"="), base64.urlsafe_b64encode(key).rstrip(b"="), base64.b32encode(key).rstrip(b"="))
    yield from (key.hex().encode(), key.hex(":").encode(), key.hex(" ").encode(), repr(key).encode()[2:-1])
    yield from (str(list(key)).encode(), str(int.from_bytes(key)).encode(), base64.b64encode(text).rstrip(b"="))


def leaks(content: bytes, secrets: Sequence[bytes]) -> list[bytes]:
    """The secrets that are in something, in whatever form."""
    lowered = content.lower()
    return [s for s in secrets if any(form in content or form.lower() in lowered for form in forms(s))]


def test_a_leak_would_be_found() -> None:
    """Each form of a key is found, also among other bytes, and what only resembles it is not."""
    for form in forms(private("a")):
        assert leaks(b"x" + form + b"x", SECRETS) == [private("a")]
    assert leaks(A.encode() + private("c"), SECRETS) == []


LAB = """
n = Netns("n")
wg0 = WireGuard("wg0", netns=n, private_key_file=F + "a", listen_port=51820)
wg1 = WireGuard("wg1", netns=n, private_key_file=F + "b")
WireGuardPeer("b", dev=wg0, public_key=wg1.public_key, preshared_key_file=F + "p", allowed_ips=["10.0.0.0/24"])
return {"a": wg0.public_key, "wg0": wg0}
"""


@pytest.mark.cloudkernel
def test_keys_are_seen_nowhere(sandbox: Sandbox, tmp_path: Path) -> None:
    """No command's output, no error, no file but the key files, no process's arguments or environment has a key in it.

    Seen is also that the keys are in the kernel, and that the files that are searched have in them what they should.
    """
    path = str(program(tmp_path, LAB))
    outputs: list[bytes] = []

    def run(*words: str, code: int = 0) -> str:
        trace = ["strace", "-f", "-v", "-s", "100000", "-e", "trace=execve"] if words[0] == "up" else []
        done = sandbox.run([*trace, sys.executable, "-m", "netdsl", *words], check=False, cwd=tmp_path)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        outputs.append(done.stdout.encode() + done.stderr.encode())
        return done.stdout

    for option in ([], ["--json"], ["--commands"], ["--out", "saved.json"]):
        run("plan", path, *option)
    run("up", "saved.json", "--yes", "--json")
    shown = sandbox.run(["wg", "show", "all", "dump"], netns="n").stdout
    assert leaks(shown.encode(), SECRETS) == SECRETS[:3]

    write(tmp_path / "a", private("c"))  # other keys in the same files
    write(tmp_path / "p", named("d"))
    run("up", "saved.json", "--yes", code=1)
    run("up", path, "--yes")
    for command in ("show", "history", "outputs"):
        run(command)
        run(command, "--json")
    for urn in ("wireguard::wg0", "wireguard-peer::b dev wg0"):
        run("state", "show", f"::n::{urn}", "lab")
    (tmp_path / "export.json").write_text(run("state", "export"))

    sandbox.run(["sh", "-c", "wg genkey | wg set wg0 private-key /proc/self/fd/0"], netns="n")
    run("refresh", "--preview-only", code=3)
    (tmp_path / "a").chmod(0o644)
    run("up", path, "--yes", code=1)
    write(tmp_path / "a", private("c")).write_bytes(private("c"))
    run("up", path, "--yes", code=1)
    write(tmp_path / "a", private("c"))
    run("rollback", "lab", "1", "--yes", code=4)  # that key is in no file any more
    assert b"/a holds another key than the one that was planned" in outputs[-1]

    found = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for name in ("a", "b", "p", "open", "short"):
        del found[str(tmp_path / name)]
    found |= {f"output {number}": text for number, text in enumerate(outputs)}
    secrets = [*SECRETS, private("c"), named("d")]
    assert [name for name, text in found.items() if leaks(text, secrets)] == []
    recorded = [name for name, text in found.items() if public("c").encode() in text]
    assert {"export.json", "lab.db"} <= {Path(name).name for name in recorded}
    assert A.encode() in found[str(tmp_path / "saved.json")]
    assert any(b"execve(" in text for text in outputs)


# Two sites


@pytest.mark.cloudkernel
def test_two_sites(sandbox: Sandbox, tmp_path: Path) -> None:
    """Packets between the sites cross the provider encrypted, in full size, and go on when a key is replaced."""
    files = {name: write(tmp_path / name, named(name)) for name in ("left", "right", "both")}
    given = [word for name, file in files.items() for word in ("-p", f"{name}_key={file}")]
    before = sandbox.dump()
    sandbox.netdsl("up", SITES, "--yes", "--verify", *given)

    record = sandbox.popen([sys.executable, "-c", RECORD, "left", str(tmp_path / "pcap")], netns="provider")
    assert record.stdout is not None
    assert record.stdout.readline() == "listening\n"
    assert answers(sandbox, "left-pc", "10.2.0.2") == 62

    def seen(what: str) -> str:
        with (tmp_path / "pcap").open("rb") as file:
            argv = ["tcpdump", "-n", "-e", "-r", "-", *what.split()]
            return subprocess.run(argv, stdin=file, capture_output=True, text=True).stdout

    outer = sandbox.wait_until(lambda: seen("udp and src 203.0.113.2 and src port 51820 and dst port 51820"))
    assert "length 170: 203.0.113.2.51820 > 203.0.113.1.51820" in outer  # the answer to a ping of 84 bytes
    assert seen("icmp or net 10.0.0.0/8") == ""
    assert plan_of(sandbox, "wireguard") == []

    write(files["left"], named("new"))
    changes = {(c["netns"], c["kind"], c["action"]) for c in plan_of(sandbox, "wireguard")}
    assert changes == {
        ("left-gw", "wireguard", "update"),
        *(("right-gw", "wireguard-peer", action) for action in ("create", "delete")),
    }
    sandbox.netdsl("up", "wireguard", "--yes")
    assert answers(sandbox, "right-pc", "10.1.0.2") == 62
    assert plan_of(sandbox, "wireguard") == []

    write(files["both"], named("other"))
    assert {(c["kind"], c["action"]) for c in plan_of(sandbox, "wireguard")} == {("wireguard-peer", "update")}
    sandbox.netdsl("destroy", "wireguard", "--yes")
    sandbox.wait_until(lambda: sandbox.dump() == before)
