"""The sandbox itself: what is done inside is real, stays inside and ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sandbox import CommandFailed, Sandbox, kill_all


def namespaces(pid: int | str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("user", "mnt", "net", "uts")]


def pair(sandbox: Sandbox) -> None:
    """Two netns, left (10.9.0.1, fd09::1) and right (10.9.0.2, fd09::2), joined by a veth pair."""
    for name in ("left", "right"):
        sandbox.ip("netns", "add", name)
    sandbox.ip("link", "add", "wire", "netns", "left", "type", "veth", "peer", "name", "wire", "netns", "right")
    for host, name in enumerate(("left", "right"), 1):
        sandbox.ip("addr", "add", f"10.9.0.{host}/24", "dev", "wire", netns=name)
        sandbox.ip("addr", "add", f"fd09::{host}/64", "dev", "wire", "nodad", netns=name)
        sandbox.ip("link", "set", "wire", "up", netns=name)


def answers(sandbox: Sandbox, netns: str, address: str) -> bool:
    return sandbox.ping(netns, address).received > 0


def ended(pid: int) -> bool:
    """Whether a process is gone; one that its parent has not asked for yet counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_namespaces_are_its_own(sandbox: Sandbox) -> None:
    """No namespace of a sandbox is one of the test process."""
    inside = sandbox.run(["sh", "-c", "for kind in user mnt net uts; do readlink /proc/self/ns/$kind; done"])
    assert inside.stdout.split() == namespaces(sandbox.pid)
    assert not set(namespaces(sandbox.pid)) & set(namespaces("self"))


def test_starts_empty(sandbox: Sandbox) -> None:
    """A new sandbox has a loopback device that is up, no other link and no named netns."""
    links = sandbox.ip("link", "show")
    assert [(link["ifname"], "UP" in link["flags"]) for link in links] == [("lo", True)]
    assert sandbox.netns_names() == []


def test_netns_stays_inside(sandbox: Sandbox, make_sandbox: Callable[[], Sandbox]) -> None:
    """A netns made in a sandbox is there by name, but neither on the machine nor in another sandbox."""
    name = f"inside-{os.getpid()}"
    sandbox.ip("netns", "add", name)
    assert sandbox.netns_names() == [name]
    assert not Path("/run/netns", name).exists()
    assert make_sandbox().netns_names() == []


def test_dump_sees_a_bridge_come_and_go(sandbox: Sandbox) -> None:
    """A dump shows an added bridge, and is as before once it is removed."""
    before = sandbox.dump()
    sandbox.ip("link", "add", "br0", "up", "type", "bridge")
    between = sandbox.dump()
    assert {link["ifname"] for link in between[""]["links"]} == {"lo", "br0"}
    sandbox.ip("link", "del", "br0")
    assert sandbox.dump() == before


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ("ip -n left link set wire mtu 1400", "links"),
        ("ip -n left link set wire address 02:00:00:00:00:01", "links"),
        ("ip -n left addr add 10.9.1.1/24 dev wire", "links"),
        ("ip -n left route add 10.8.0.0/16 via 10.9.0.2 table 7", "routes4"),
        ("ip -n left route add fd08::/64 via fd09::2", "routes6"),
        ("ip -n left rule add from 10.9.0.1 table 7", "rules4"),
        ("ip -n left neigh add 10.9.0.9 lladdr 02:00:00:00:00:09 dev wire", "neighbours"),
        ("bridge -n left fdb add 02:00:00:00:00:09 dev wire", "fdb"),
        ("ip netns exec left sysctl -qw net.ipv6.conf.all.forwarding=1", "sysctls"),
    ],
)
def test_dump_shows_each_change(sandbox: Sandbox, change: str, part: str) -> None:
    """Each kind of change is seen in its part of the dump of its namespace, and in no other namespace."""
    pair(sandbox)
    before = sandbox.dump()
    sandbox.run(change.split())
    after = sandbox.dump()
    assert after["left"][part] != before["left"][part]
    assert {name: after[name] for name in ("", "right")} == {name: before[name] for name in ("", "right")}


def test_dump_does_not_depend_on_time(sandbox: Sandbox) -> None:
    """Dumps taken while links come up, addresses are checked and traffic flows are equal."""
    pair(sandbox)
    first = sandbox.dump()
    for address in ("10.9.0.2", "fd09::2"):
        sandbox.wait_until(partial(answers, sandbox, "left", address))
    assert sandbox.dump() == first
    sandbox.wait_until(lambda: "tentative" not in str(sandbox.ip("addr", "show", netns="left")))
    assert sandbox.dump() == first


def test_dump_is_the_same_for_the_same_network(make_sandbox: Callable[[], Sandbox]) -> None:
    """Two sandboxes in which the same was made have equal dumps, whatever the order in which parts were made."""
    dumps = []
    for names in (("left", "right"), ("right", "left")):
        sandbox = make_sandbox()
        sandbox.ip("link", "add", "br0", "index", "10", "address", "02:00:00:00:00:10", "type", "bridge")
        for name in names:
            index, mac = {"left": ("11", "02:00:00:00:00:11"), "right": ("12", "02:00:00:00:00:12")}[name]
            sandbox.ip("netns", "add", name)
            veth = ["link", "add", name, "index", index, "address", mac, "master", "br0", "type", "veth"]
            sandbox.ip(*veth, "peer", "name", "up", "netns", name, "index", index, "address", mac)
        dumps.append(sandbox.dump())
    ends = {link["ifname"]: link.get("link_netns") for link in dumps[0][""]["links"]}
    assert ends == {"br0": None, "left": "left", "lo": None, "right": "right"}
    assert dumps[0] == dumps[1]


def test_dump_shows_a_name_without_namespace(sandbox: Sandbox) -> None:
    """A file in /run/netns that is no namespace is seen in a dump."""
    sandbox.run(["touch", "/run/netns/left-over"])
    assert sandbox.dump()["left-over"] == {"not a namespace": True}


def test_ping_answers_between_two_netns(sandbox: Sandbox) -> None:
    """Two netns joined by a veth pair answer each other's pings, and an address that nobody has does not answer."""
    pair(sandbox)
    for address in ("10.9.0.1", "fd09::1"):
        sandbox.wait_until(partial(answers, sandbox, "right", address))
        assert sandbox.ping("right", address, count=2) == (2, 2, 64)
    assert sandbox.ping("left", "10.9.0.3") == (1, 0, None)


def test_run_passes_everything_on(sandbox: Sandbox, tmp_path: Path) -> None:
    """Standard input, working directory, environment and netns reach a command, and its exit code comes back."""
    sandbox.ip("netns", "add", "left")
    script = "cat; pwd; echo $GREETING; ip netns identify; exit 7"
    done = sandbox.run(["sh", "-c", script], False, "in\n", tmp_path, {"GREETING": "hello"}, "left")
    assert done.stdout.split() == ["in", str(tmp_path), "hello", "left"]
    assert done.returncode == 7


def test_failure_says_what_the_command_said(sandbox: Sandbox) -> None:
    """A command that fails raises an error with its words."""
    with pytest.raises(CommandFailed, match="Cannot find device"):
        sandbox.ip("link", "set", "nothing", "up")


def test_overlong_command_is_ended(sandbox: Sandbox) -> None:
    """A command that takes longer than it may is killed, together with what it started."""
    with pytest.raises(subprocess.TimeoutExpired):
        sandbox.run(["sh", "-c", "sleep 1000 & sleep 1000"], timeout=0.2)


def test_popen_is_the_command_itself(sandbox: Sandbox) -> None:
    """A started command has the process id that it sees itself, so a signal sent to it arrives there."""
    sandbox.ip("netns", "add", "left")
    child = sandbox.popen(["sh", "-c", "echo $$; exec sleep 1000"], netns="left")
    assert child.stdout
    assert int(child.stdout.readline()) == child.pid
    child.kill()
    assert child.wait() == -signal.SIGKILL


def test_netdsl_state_is_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    """netdsl run in a sandbox keeps its state in a directory of the test."""
    done = sandbox.run(["sh", "-c", "echo $NETDSL_STATE_DIR"])
    assert tmp_path in Path(done.stdout.strip()).parents


def test_wait_until_gives_up(sandbox: Sandbox) -> None:
    """Waiting ends with the answer that was waited for, or with an error that shows the last one."""
    results = iter([0, 0, 3])
    assert sandbox.wait_until(lambda: next(results)) == 3
    with pytest.raises(TimeoutError, match="last answer was 0"):
        sandbox.wait_until(lambda: 0, seconds=0.05)


def test_close_ends_every_process(tmp_path: Path) -> None:
    """When a sandbox is closed all its processes are gone, also daemons and those in user namespaces below its own."""
    with Sandbox(tmp_path) as sandbox:
        child = sandbox.popen(["sh", "-c", "setsid sleep 1000 & unshare --user sleep 1000 & echo $!; wait"])
        assert child.stdout
        pids = [sandbox.pid, child.pid, int(child.stdout.readline())]
        assert not any(ended(pid) for pid in pids)
    assert all(ended(pid) for pid in pids)


def test_nothing_outlives_a_killed_test_process(tmp_path: Path) -> None:
    """When the test process is killed its sandbox ends, with everything that ran there."""
    program = f"""
import pathlib, sandbox
made = sandbox.Sandbox(pathlib.Path({str(tmp_path)!r}))
child = made.popen(["sh", "-c", "setsid sleep 1000 & echo $!; exec sleep 1000"])
print(made.pid, child.pid, child.stdout.readline(), flush=True)
input()
"""
    tests = str(Path(__file__).parent)
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], cwd=tests, stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 3
        assert not any(ended(pid) for pid in pids)
        parent.kill()
    deadline = time.monotonic() + 30
    while not all(ended(pid) for pid in pids):
        assert time.monotonic() < deadline, "processes of the sandbox are still there"
        time.sleep(0.01)


def test_only_its_own_processes_are_ended(sandbox: Sandbox) -> None:
    """Ending a sandbox leaves the processes of others alone."""
    other = subprocess.Popen(["sleep", "1000"])
    try:
        kill_all(os.stat(f"/proc/{sandbox.pid}/ns/user").st_ino)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
