"""`netdsl watch`: drift is reported and healed as it happens, and nothing is spent while nothing happens."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from labs import plan_of
from sandbox import Sandbox

MAC = "02:00:00:00:00:09"
LAB = f"""
from netdsl import Bridge, Masquerade, Neighbor, Netns, Sysctl, Veth, VethEnd, stack

@stack
def lab(mtu: int = 1400):
    a, b = Netns("a", forwarding=True), Netns("b")
    br = Bridge("br0", netns=a, mtu=mtu)
    wire = Veth("to-b", netns=a, master=br, peer=VethEnd("to-a", netns=b, addresses=["10.0.0.2/24"]))
    Neighbor("10.0.0.9", dev=wire.peer, lladdr="{MAC}")
    Sysctl("net.ipv4.conf.all.arp_announce", value=2, netns=b)
    Masquerade("out", netns=a, src="10.0.0.0/24")
"""

Event = dict[str, Any]


class Case(NamedTuple):
    """What somebody does by hand, the logical names that drift then, and how he takes it back."""

    by_hand: str
    drifts: set[str]
    back: str


CASES = {
    "neighbour": Case(
        "ip -n b neigh del 10.0.0.9 dev to-a",
        {"::b::neighbor::10.0.0.9 dev to-a"},
        f"ip -n b neigh add 10.0.0.9 dev to-a lladdr {MAC} nud permanent",
    ),
    "mtu": Case("ip -n a link set br0 mtu 1300", {"::a::bridge::br0"}, "ip -n a link set br0 mtu 1400"),
    "address": Case(
        "ip -n b addr del 10.0.0.2/24 dev to-a",
        {"::b::address::10.0.0.2/24 dev to-a"},
        "ip -n b addr add 10.0.0.2/24 dev to-a",
    ),
    "master": Case("ip -n a link set to-b nomaster", {"::a::veth::to-b"}, "ip -n a link set to-b master br0"),
    "forwarding": Case(
        "ip netns exec a sysctl -qw net.ipv6.conf.all.forwarding=0",
        {"::a::sysctl::net/ipv6/conf/all/forwarding"},
        "ip netns exec a sysctl -qw net.ipv6.conf.all.forwarding=1",
    ),
    "another sysctl": Case(  # of which the kernel does not tell
        "ip netns exec b sysctl -qw net.ipv4.conf.all.arp_announce=0",
        {"::b::sysctl::net/ipv4/conf/all/arp_announce"},
        "ip netns exec b sysctl -qw net.ipv4.conf.all.arp_announce=2",
    ),
    "nf_tables": Case("ip netns exec a nft delete table ip out", {"::a::masquerade::out"}, ""),
    "link": Case(
        "ip -n a link del to-b",
        {
            *("::a::veth::to-b", "::b::veth-end::to-a"),
            *("::b::address::10.0.0.2/24 dev to-a", "::b::neighbor::10.0.0.9 dev to-a"),
        },
        "",
    ),
    "netns": Case(
        "ip netns del b",
        {
            *("::::netns::b", "::b::veth-end::to-a", "::b::sysctl::net/ipv4/conf/all/arp_announce"),
            *("::b::address::10.0.0.2/24 dev to-a", "::b::neighbor::10.0.0.9 dev to-a"),
        },
        "",
    ),
}


class Watching:
    """A `netdsl watch --json` under way, whose lines go to a file."""

    def __init__(self, sandbox: Sandbox, out: Path, *args: str) -> None:
        self.sandbox = sandbox
        self.out = out
        with out.open("w") as file:
            argv = [sys.executable, "-m", "netdsl", "watch", "--json", *args]
            self.process = sandbox.popen(argv, stdout=file.fileno(), stderr=file.fileno())
        self.until(lambda: self.events("watching"))
        self.seen = 0

    def events(self, *names: str) -> list[Event]:
        """All that it said so far, or only events of these names."""
        lines = self.out.read_text().splitlines(keepends=True)
        found: list[Event] = [json.loads(line) for line in lines if line.endswith("\n")]
        return [event for event in found if not names or event["event"] in names]

    def until(self, predicate: Callable[[], Any]) -> Any:
        """Wait for something, as long as it runs."""

        def asked() -> Any:
            answer = predicate()
            assert answer or self.process.poll() is None, self.out.read_text()
            return answer

        return self.sandbox.wait_until(asked)

    def told(self, name: str, urns: set[str]) -> list[Event]:
        """Wait until it has said something of all these resources that it had not said when this was last called."""

        def new() -> list[Event]:
            events = [event for event in self.events()[self.seen :] if event["event"] == name and event["urn"] in urns]
            return events if {event["urn"] for event in events} == urns else []

        found: list[Event] = self.until(new)
        self.seen = max(self.events().index(event) for event in found) + 1
        return found

    def spent(self) -> tuple[str, ...]:
        """Processor time (user and system), and how often the process went to sleep."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        switches = [line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")]
        return (stat[11], stat[12], *switches)

    def silent(self, seconds: float) -> None:
        """Wait for a stretch of time, so long, in which the process did nothing at all."""
        before, since = self.spent(), time.monotonic()

        def still() -> bool:
            nonlocal before, since
            if self.spent() != before:
                before, since = self.spent(), time.monotonic()
            return time.monotonic() - since > seconds

        self.until(still)

    def end(self, number: int = signal.SIGINT) -> int:
        """Stop it; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Sandbox:
    """The stack above, up."""
    (tmp_path / "lab.py").write_text(LAB)
    sandbox.netdsl("up", str(tmp_path / "lab.py"), "--yes")
    return sandbox


@pytest.fixture
def watch(lab: Sandbox, tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    """Starts a watch of it."""
    yield lambda *args: Watching(lab, tmp_path / "watch.jsonl", *args)


def sh(sandbox: Sandbox, line: str) -> None:
    """Run a shell line inside."""
    sandbox.run(["sh", "-ec", line])


def clean(sandbox: Sandbox) -> bool:
    """Whether a plan has nothing to do."""
    return sandbox.netdsl("plan", "--detailed-exitcode", check=False).returncode == 0


def test_drift_and_its_end_are_reported(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """Whatever somebody changes is told by name, with what is recorded and what is there, and so is its end."""
    watching = watch("--every", "100ms")
    for case in CASES.values():
        sh(lab, case.by_hand)
        events = watching.told("drift", case.drifts)
        assert {event["what"] for event in events} <= {"gone", "differs"}
        if case.by_hand == CASES["mtu"].by_hand:
            assert events[0]["diff"] == {"mtu": {"recorded": 1400, "there": 1300}}
        if not case.back:
            lab.netdsl("up", "--yes")
        else:
            sh(lab, case.back)
        assert {event["by"] for event in watching.told("healed", case.drifts)} == {"another"}
    assert clean(lab)
    assert watching.end() == 0


def test_drift_is_healed(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """With --heal everything is brought back, and what it does itself gives it nothing to do."""
    watching = watch("--heal", "--every", "100ms")
    for case in CASES.values():
        sh(lab, case.by_hand)
        watching.told("drift", case.drifts)
        assert {event["by"] for event in watching.told("healed", case.drifts)} == {"watch"}
        lab.wait_until(lambda: clean(lab))
    repairs = watching.events("repair")
    assert len(repairs) < 2 * len(CASES)
    assert watching.events("failed") == []
    assert watching.end(signal.SIGTERM) == 0


def test_lost_notifications_are_made_up_for(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """When the kernel drops what it has to tell, since nobody reads it, everything is looked at again."""
    watching = watch()
    watching.silent(0.5)
    watching.process.send_signal(signal.SIGSTOP)
    addresses = [f"10.{1 + n // 250}.0.{1 + n % 250}" for n in range(5000)]
    batch = "".join(f"neigh add {address} dev to-a lladdr {MAC} nud permanent\n" for address in addresses)
    lab.run(["ip", "-n", "b", "-batch", "-"], input=batch)
    sh(lab, CASES["neighbour"].by_hand)
    watching.process.send_signal(signal.SIGCONT)
    assert [event["netns"] for event in watching.until(lambda: watching.events("lost"))] == [["b"]]
    watching.told("drift", CASES["neighbour"].drifts)


def test_nothing_happens_while_nothing_happens(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """No processor time and no wakeup in two seconds without a change, and it is still awake after that."""
    watching = watch("--heal", "--every", "0s")
    watching.silent(2)
    sh(lab, CASES["mtu"].by_hand)
    watching.told("healed", CASES["mtu"].drifts)


def test_another_run_goes_first(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """While another run has the lock nothing is reported or healed; what that recorded is what counts afterwards."""
    watching = watch("--heal")
    watching.silent(0.5)
    with (state(lab) / "lab.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = watching.spent()
        sh(lab, CASES["mtu"].by_hand)
        watching.until(lambda: watching.spent() != before)
        watching.silent(0.5)
        assert lab.ip("link", "show", "br0", netns="a")[0]["mtu"] == 1300
        assert watching.events("drift") == []
    watching.told("healed", CASES["mtu"].drifts)
    lab.netdsl("up", "--yes", "-p", "mtu=1350")
    watching.until(lambda: len(watching.events("watching")) > 1)
    sh(lab, CASES["mtu"].by_hand)
    (event,) = watching.told("drift", CASES["mtu"].drifts)
    assert event["diff"] == {"mtu": {"recorded": 1350, "there": 1300}}
    watching.told("healed", CASES["mtu"].drifts)
    assert lab.ip("link", "show", "br0", netns="a")[0]["mtu"] == 1350
    assert clean(lab)


def test_what_is_recorded_anew_is_no_drift(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """A refresh ends a drift, too."""
    watching = watch()
    sh(lab, CASES["mtu"].by_hand)
    watching.told("drift", CASES["mtu"].drifts)
    lab.netdsl("refresh", "--yes")
    watching.told("healed", CASES["mtu"].drifts)


def test_a_fight_is_given_up_for_longer_and_longer(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """What another program changes again and again is said and healed ever less often; healed it is when that ends."""
    watching = watch("--heal")
    other = lab.popen(
        ["sh", "-c", f"while :; do {CASES['neighbour'].by_hand}; sleep 0.02; done"], stderr=subprocess.DEVNULL
    )
    (fight, *_) = watching.until(lambda: watching.events("fight"))
    assert (fight["urn"], fight["others"], fight["seconds"] > 2) == ("::b::neighbor::10.0.0.9 dev to-a", 0, True)
    assert len(watching.events("repair")) < 5
    os.killpg(other.pid, signal.SIGKILL)
    lab.wait_until(lambda: clean(lab))


def test_a_foreign_object_is_left_alone(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """A link that somebody made anew under the same name is told, not replaced; what else drifts is healed."""
    watching = watch("--heal")
    watching.process.send_signal(signal.SIGSTOP)
    sh(lab, "ip -n a link del br0; ip -n a link add br0 type bridge")
    watching.process.send_signal(signal.SIGCONT)
    (event,) = watching.told("drift", {"::a::bridge::br0"})
    assert event["what"] == "foreign"
    index = lab.ip("link", "show", "br0", netns="a")[0]["ifindex"]
    sh(lab, CASES["neighbour"].by_hand)
    watching.told("healed", CASES["neighbour"].drifts)
    assert lab.ip("link", "show", "br0", netns="a")[0]["ifindex"] == index
    sh(lab, "ip -n a link del br0")
    watching.told("healed", {"::a::bridge::br0", "::a::veth::to-b"})
    assert clean(lab)


def test_a_netns_made_anew_is_foreign(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """A namespace that somebody made under the name of ours is not entered to repair it."""
    watching = watch("--heal", "--every", "0s")
    watching.process.send_signal(signal.SIGSTOP)
    sh(lab, "ip netns del b; ip netns add b")
    watching.process.send_signal(signal.SIGCONT)
    (event,) = watching.told("drift", {"::::netns::b"})
    assert event["what"] == "foreign"
    watching.silent(0.5)
    assert [link["ifname"] for link in lab.ip("link", "show", netns="b")] == ["lo"]


def test_destroy_ends_it(lab: Sandbox, watch: Callable[..., Watching]) -> None:
    """It lets go of namespaces at once, and has nothing left to do when the stack is gone."""
    watching = watch("--heal")
    assert "not let go" not in lab.netdsl("destroy", "--yes").stdout
    watching.until(lambda: watching.events("ended"))
    assert watching.process.wait(30) == 0
    assert watching.events("drift") == []


INTERRUPTED = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
made = "INSERT INTO applies (command, started, status, summary, meta) VALUES (?, 1, 'running', '{}', '{}')"
connection.execute(made, (sys.argv[2],))
connection.execute("UPDATE resources SET intent='update', next=props WHERE urn='::a::bridge::br0'")
"""


@pytest.mark.parametrize("command", ["up", "watch --heal"])
def test_an_interrupted_run(lab: Sandbox, watch: Callable[..., Watching], command: str) -> None:
    """What a killed `up` left open is said and left alone until it is settled; a killed repair is gone on with."""
    sh(lab, CASES["mtu"].by_hand)
    lab.run([sys.executable, "-c", INTERRUPTED, str(state(lab) / "lab.db"), command])
    watching = watch("--heal")
    if command == "up":
        (event,) = watching.until(lambda: watching.events("unfinished"))
        assert event["command"] == "up"
        sh(lab, CASES["neighbour"].by_hand)
        watching.told("drift", CASES["neighbour"].drifts)
        watching.silent(0.5)
        assert watching.events("repair") == []
        lab.netdsl("up", "--yes")
        watching.told("healed", CASES["neighbour"].drifts)
    else:
        watching.told("healed", CASES["mtu"].drifts)
    assert plan_of(lab) == []


def test_text(lab: Sandbox, tmp_path: Path) -> None:
    """A line with the time for each thing that happens."""
    out = tmp_path / "text"
    with out.open("w") as file:
        process = lab.popen([sys.executable, "-m", "netdsl", "watch", "--heal"], stdout=file.fileno())

    def said() -> list[str]:
        return [line.partition(" ")[2] for line in out.read_text().splitlines()]

    lab.wait_until(said)
    sh(lab, CASES["mtu"].by_hand)
    lab.wait_until(lambda: len(said()) > 3)
    assert said() == [
        "watching: lab, 11 resources in 2 namespaces",
        "drift: Bridge 'br0' in netns a: mtu 1400 -> 1300",
        "repair: 1 updated",
        "healed: Bridge 'br0' in netns a",
    ]
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def test_refusals(sandbox: Sandbox, tmp_path: Path) -> None:
    """Without a stack, with one that is not up, or without the right to look there is a message and an exit code."""
    (tmp_path / "lab.py").write_text(LAB)
    lab = str(tmp_path / "lab.py")
    for args, words in (("watch", "nowhere"), "there is no stack 'nowhere'"), (("watch", lab), "is not up"):
        done = sandbox.netdsl(*args, check=False)
        assert (done.returncode, words in done.stderr) == (2, True)
    sandbox.netdsl("up", lab, "--yes")
    argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "netdsl", "watch"]
    for more, words in ([], "cannot be entered"), (["--heal"], "no permission to change the network"):
        refused = sandbox.run([*argv, *more], check=False)
        assert (refused.returncode, words in refused.stderr) == (1, True), refused.stderr


def state(sandbox: Sandbox) -> Path:
    """Where the sandbox's netdsl keeps its states."""
    return Path(sandbox.env["NETDSL_STATE_DIR"])
