"""A machine of its own for one test: user, mount, net and uts namespaces that nothing outside can be reached from.

Needs no root: an ordinary user who may create user namespaces is enough. A sandbox lives as long as its holder, a
shell that waits for the end of its standard input; that comes when the sandbox is closed and also when the test
process dies, however it dies. The file run as a program is what the holder then becomes: it ends whatever is left
of its sandbox.
"""

from __future__ import annotations

import fcntl
import importlib.util
import ipaddress
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from warm import Warm

T = TypeVar("T")

Picture = dict[str, dict[str, Any]]
"""What `Sandbox.dump` returns: for each namespace (the first one is named "") its links, routes, rules and so on."""

READY = "ready\n"
PATIENCE = 5 if os.environ.get("NETDSL_LANE") == "cloudkernel" else 1  # in QEMU everything takes several times as long
START_SECONDS = 120 * PATIENCE  # the kernel may be busy with the namespaces of other tests
COMMAND_SECONDS = 120 * PATIENCE

UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--uts", "--propagation", "private"]

# A tmpfs on /run gives the sandbox its own /run/netns, which `ip netns` may alter without being root outside.
HOLDER = """
mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/netns && ip link set lo up && echo ready || exit 1
read -r _
exec "$0" -I -S "$1"
"""

# Prints JSON values one after the other, then the names of namespaces as text. `vlan show` is refused by a kernel
# without bridge VLAN filtering, `nft` by one without nf_tables; not every machine has `wg`. Classes and filters are
# shown link by link, and as text.
PICTURE = """
set -e
ip -d -j addr show
printf 'route show table all\\nrule show\\n' | ip -4 -d -j -batch -
printf 'route show table all\\nrule show\\n' | ip -6 -d -j -batch -
ip -d -j neigh show nud permanent
ip -d -j nexthop show
bridge -d -j fdb show
tc -j qdisc show
classes=$(for dev in $(tc qdisc show | sed -n 's/^qdisc htb .* dev \\([^ ]*\\) .*/\\1/p'); do
    tc -d class show dev "$dev" | sed -n "s/^class htb .*/\\"$dev: &\\"/p"
    tc filter show dev "$dev" | sed ':a; N; $!ba; s/\\n  match/ match/g' |
        sed "/ht divisor/d; s/ fh [0-9a-f:]*//; s/ key ht [0-9a-f]*//; s/.*/\\"$dev: &\\"/"
done | paste -s -d ,)
echo "[$classes]"
vlans=$(bridge -d -j vlan show 2>/dev/null) || vlans='[]'
echo "$vlans"
tables=$(nft -j list ruleset 2>/dev/null) || tables='{"nftables": []}'
echo "$tables"
cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
ip netns list-id
wg show all dump 2>/dev/null || true
"""
PARTS = (
    *("links", "routes4", "rules4", "routes6", "rules6", "neighbours", "nexthops", "fdb", "qdiscs", "classes", "vlans"),
    "tables",
)
SYSCTLS = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")

# What moves by itself: counters, timers, and what the kernel works out from the carrier in its own time.
VOLATILE = {
    *("stats", "stats64", "statistics", "expires", "cacheinfo", "promiscuity", "allmulti", "operstate", "tentative"),
    *("carrier_changes", "carrier_up_count", "carrier_down_count", "root_port", "tcn_timer", "hello_timer"),
    *("gc_timer", "topology_change_timer", "topology_change", "topology_change_detected", "direct_packets_stat"),
}
# The same in a bridge port, and its number, which tells only in what order ports came.
VOLATILE_IN_PORT = VOLATILE | {
    *("state", "id", "no", "designated_port", "hold_timer", "message_age_timer", "forward_delay_timer"),
    *("topology_change_ack", "config_pending"),
}
VOLATILE_FLAGS = ["NO-CARRIER", "linkdown"]

NS_GET_PARENT = 0xB702  # linux/nsfs.h: _IO(0xb7, 0x2)


class CommandFailed(subprocess.CalledProcessError):
    """A command in a sandbox ended with another exit code than 0; the message has all that it printed."""

    def __str__(self) -> str:
        parts = [super().__str__(), self.stdout, self.stderr]
        return "\n".join(part.rstrip() for part in parts if part)


@cache
def warm(python_path: str) -> Warm:
    """The process that forks commands of the netdsl in that path."""
    from warm import Warm  # not above: the program that this file is does without

    return Warm({**os.environ, "PYTHONPATH": python_path})


class Ping(NamedTuple):
    """What `ping` reports: echo requests sent, answers received, and the TTL (hops) of the first answer."""

    sent: int
    received: int
    ttl: int | None


class Sandbox:
    """The namespaces of one test, and commands run in them. Close it, or use it as a context manager."""

    def __init__(self, state_dir: Path) -> None:
        """Make the namespaces; netdsl keeps its state in `state_dir` there. RuntimeError if the machine refuses."""
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("NETDSL_")}
        self.env["NETDSL_STATE_DIR"] = str(state_dir)
        self.env["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        found = importlib.util.find_spec("netdsl")
        if found and found.submodule_search_locations:  # commands use the netdsl that the tests import
            home = str(Path(next(iter(found.submodule_search_locations))).parent)
            self.env["PYTHONPATH"] = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")]))
        self._children: list[subprocess.Popen[str]] = []
        self._holder = subprocess.Popen(
            [*UNSHARE, "sh", "-c", HOLDER, sys.executable, os.path.abspath(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.env,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the test process, which then closes the sandbox
        )
        self.pid = self._holder.pid
        try:
            self._await_ready()
            self._userns = os.stat(f"/proc/{self.pid}/ns/user").st_ino
        except BaseException:
            self._holder.kill()
            self._holder.communicate()
            raise

    def _await_ready(self) -> None:
        assert self._holder.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._holder.stdout, selectors.EVENT_READ)
            line = self._holder.stdout.readline() if selector.select(START_SECONDS) else "no answer\n"
        if line != READY:
            raise RuntimeError(
                f"cannot make a sandbox (are user namespaces allowed here, and util-linux and iproute2 there?): {line}"
            )

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process of the sandbox and wait until they are gone; its namespaces go with the last of them."""
        for child in self._children:
            child.kill()  # one that is still on its way in is not found there
        kill_all(self._userns)
        for child in [*self._children, self._holder]:
            child.wait(COMMAND_SECONDS)
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe:
                    pipe.close()
        self._children.clear()

    # Commands

    def argv(self, argv: Sequence[str], netns: str | None = None, cwd: str | Path | None = None) -> list[str]:
        """The command line that runs `argv` inside; each program execs the next, so its process is that of `argv`."""
        enter = ["nsenter", "--preserve-credentials", f"--target={self.pid}", "--user", "--mount", "--net", "--uts"]
        inside = ["ip", "netns", "exec", netns] if netns else []
        return [*enter, f"--wdns={cwd or os.getcwd()}", "--", *inside, *argv]

    def popen(
        self,
        argv: Sequence[str],
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        stdin: int = subprocess.PIPE,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start a command inside, in a process group of its own; it is killed with the sandbox at the latest."""
        child = subprocess.Popen(
            self.argv(argv, netns, cwd),
            env={**self.env, **(env or {})},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            process_group=0,
        )
        self._children.append(child)
        return child

    def run(
        self,
        argv: Sequence[str],
        check: bool = True,
        input: str | None = None,  # as in subprocess.run
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        timeout: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end. CommandFailed if `check` and it fails; TimeoutExpired after the seconds."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        child = self.popen(argv, cwd=cwd, env=env, netns=netns, stdin=stdin)
        try:
            stdout, stderr = child.communicate(input, timeout)
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        finally:
            self._children.remove(child)
        if check and child.returncode:
            raise CommandFailed(child.returncode, list(argv), stdout, stderr)
        return subprocess.CompletedProcess(list(argv), child.returncode, stdout, stderr)

    def ip(self, *args: str, netns: str | None = None) -> Any:
        """What `ip -d -j` answers, parsed; an empty list when it says nothing."""
        return self._json("ip", args, netns)

    def bridge(self, *args: str, netns: str | None = None) -> Any:
        """What `bridge -d -j` answers, parsed; an empty list when it says nothing."""
        return self._json("bridge", args, netns)

    def _json(self, program: str, args: Sequence[str], netns: str | None) -> Any:
        out = self.run([program, "-d", "-j", *(["-n", netns] if netns else []), *args]).stdout
        return json.loads(out) if out.strip() else []

    def netdsl(
        self,
        *args: str,
        check: bool = True,
        input: str | None = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
        netns: str | None = None,
        timeout: float = COMMAND_SECONDS,
    ) -> subprocess.CompletedProcess[str]:
        """Run netdsl inside, with the interpreter and the netdsl of the tests.

        It is forked from a process that has Python started already, unless it is to run in a netns or with variables of
        its own.
        """
        if env or netns:
            return self.run([sys.executable, "-m", "netdsl", *args], check, input, cwd, env, netns, timeout)
        done = warm(self.env.get("PYTHONPATH", "")).run(
            self.pid, args, self.env, str(cwd or os.getcwd()), input or "", timeout
        )
        if check and done.returncode:
            raise CommandFailed(done.returncode, done.args, done.stdout, done.stderr)
        return done

    def ping(self, netns: str | None, address: str, count: int = 1) -> Ping:
        """Ping an address from a namespace (None: the first one), waiting a second for an answer; never raises."""
        done = self.run(["ping", "-n", "-c", str(count), "-i", "0.2", "-W", "1", address], check=False, netns=netns)
        sums = re.search(r"(\d+) packets transmitted, (\d+) received", done.stdout)
        ttl = re.search(r"\bttl=(\d+)", done.stdout)
        sent, received = (int(sums[1]), int(sums[2])) if sums else (0, 0)
        return Ping(sent, received, int(ttl[1]) if ttl else None)

    def wait_until(self, predicate: Callable[[], T], seconds: float = 30 * PATIENCE) -> T:
        """Ask again and again until the answer is true, and return it. TimeoutError if it never is.

        The seconds are generous: a kernel that is busy removing namespaces of others answers late.
        """
        end = time.monotonic() + seconds
        while not (answer := predicate()):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {seconds} seconds: last answer was {answer!r}")
            time.sleep(0.01)
        return answer

    # The picture

    def netns_names(self) -> list[str]:
        """The names in /run/netns, sorted."""
        return sorted(os.listdir(f"/proc/{self.pid}/root/run/netns"))

    def dump(self) -> Picture:
        """A picture of all namespaces in the sandbox, equal to another one if the network is the same.

        A name under /run/netns that has no namespace behind it is shown as such. Left out is what moves by itself:
        counters, timers, operational states, port numbers, learned neighbours and fdb entries, and what the kernel
        derives, in its own time, from a link being up: multicast groups, IPv6 link-local addresses made from the MAC,
        and the routes of both and of an IPv6 address to itself.
        """
        picture = {"": self._picture(None)}
        nsfs = os.stat(f"/proc/{self.pid}/ns/net").st_dev
        for name in self.netns_names():
            there = os.stat(f"/proc/{self.pid}/root/run/netns/{name}").st_dev == nsfs
            picture[name] = self._picture(name) if there else {"not a namespace": True}
        return picture

    def _picture(self, netns: str | None) -> dict[str, Any]:
        inside = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
        text = self.run([*inside, "sh", "-c", PICTURE], cwd="/").stdout
        decoder, values = json.JSONDecoder(), []
        for _ in PARTS + SYSCTLS:
            value, end = decoder.raw_decode(text.lstrip())
            values.append(value)
            text = text.lstrip()[end:]
        raw = dict(zip(PARTS, values, strict=False))
        tunnels = [line.split("\t") for line in text.splitlines() if "\t" in line]
        names = dict(re.findall(r"^nsid (\d+) \(iproute2 netns name: (.*)\)$", text, re.MULTILINE))
        kept = {
            **raw,
            "links": [_link(link, names) for link in raw["links"] if link],
            "routes6": [route for route in raw["routes6"] if not _derived_route(route)],
            "fdb": [entry for entry in raw["fdb"] if not _passing_entry(entry)],
            "tables": [_table(entry) for entry in raw["tables"]["nftables"] if "metainfo" not in entry],
            "wireguard": [fields[:5] + fields[8:] for fields in tunnels],  # no handshakes, no counters
            "sysctls": dict(zip(SYSCTLS, values[len(PARTS) :], strict=True)),
        }
        return {part: _settled(value) for part, value in kept.items()}


def _table(entry: dict[str, Any]) -> dict[str, Any]:
    """A table, chain or rule of nf_tables without its handle, which counts all that were ever made."""
    return {kind: {key: value for key, value in body.items() if key != "handle"} for kind, body in entry.items()}


def _link(link: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The link with the name of the other end's namespace, whose number is given in the order of asking."""
    kept = {key: value for key, value in link.items() if key != "link_netnsid"}
    if "link_netnsid" in link:
        kept["link_netns"] = names.get(str(link["link_netnsid"]), "(unnamed)")
    kept["addr_info"] = [
        {key: value for key, value in address.items() if not (address.get("dynamic") and key.endswith("_life_time"))}
        for address in link["addr_info"]
        if address["local"] != _from_mac(link.get("address", ""))
    ]
    return kept


def _from_mac(mac: str) -> str | None:
    """The IPv6 link-local address that the kernel makes from a MAC (RFC 4291, appendix A)."""
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
        return None
    octets = bytes.fromhex(mac.replace(":", ""))
    eui64 = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + eui64))


def _derived_route(route: Mapping[str, Any]) -> bool:
    """Whether the kernel made this IPv6 route by itself when a link came up or an address had been checked."""
    return bool(route["protocol"] == "kernel" and (route["type"] != "unicast" or route["dst"].startswith("fe80::")))


def _passing_entry(entry: Mapping[str, Any]) -> bool:
    """Whether an fdb entry was learned, or stands for a multicast group that the device has joined."""
    learned = entry.get("state") not in ("permanent", "static") and "extern_learn" not in entry.get("flags", [])
    group = int(entry["mac"][:2], 16) & 1 and "self" in entry.get("flags", []) and "dst" not in entry
    return bool(learned or group)


def _settled(value: Any, volatile: Set[str] = VOLATILE) -> Any:
    """A value without what moves by itself, its lists sorted."""
    if isinstance(value, dict):
        return {
            key: _settled(inner, VOLATILE_IN_PORT if key == "info_slave_data" else volatile)
            for key, inner in value.items()
            if key not in volatile
        }
    if isinstance(value, list):
        kept = [_settled(item, volatile) for item in value if item not in VOLATILE_FLAGS]
        return sorted(kept, key=_order)
    return value


def _order(item: Any) -> tuple[str, str]:
    return (item.get("ifname", "") if isinstance(item, dict) else "", json.dumps(item, sort_keys=True))


# Ending what is left


def kill_all(userns: int) -> None:
    """Kill every process but this one in the user namespace with this inode number, and wait until they are gone."""
    end = time.monotonic() + COMMAND_SECONDS
    while [pid for pid in _pids() if pid != os.getpid() and _kill_within(pid, userns)]:
        if time.monotonic() > end:
            raise TimeoutError(f"processes of user namespace {userns} survive SIGKILL")
        time.sleep(0.001)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _kill_within(pid: int, userns: int) -> bool:
    """Kill a process if it lives in the user namespace or in one below it; whether it did."""
    try:
        process = os.pidfd_open(pid)  # stays with this process, even if it ends and its number is given out again
    except OSError:
        return False
    try:
        if not _lives_within(pid, userns):
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(process)


def _lives_within(pid: int, userns: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            if stat.read().rpartition(")")[2].split()[0] in "ZX":  # ended; only its parent has not asked yet
                return False
        namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    except OSError:  # ended, or not ours to look at
        return False
    while True:
        try:
            if os.fstat(namespace).st_ino == userns:
                return True
            parent = fcntl.ioctl(namespace, NS_GET_PARENT)
        except PermissionError:  # there is no parent, or we live in it
            return False
        finally:
            os.close(namespace)
        namespace = parent


if __name__ == "__main__":
    kill_all(os.stat("/proc/self/ns/user").st_ino)
