"""`netdsl refresh`: what drifted is shown, and the record takes over what is there."""

from __future__ import annotations

import fcntl
import json
import textwrap
from pathlib import Path
from typing import Any

import pytest

from labs import VXLAN, plan_of
from sandbox import Sandbox

LAB = """
from netdsl import Bridge, Masquerade, Netns, Route, Sysctl, Veth, VethEnd, stack

@stack
def lab(mtu: int = 1400):
    a, b = Netns("a"), Netns("b")
    Bridge("br0", netns=a, mtu=mtu)
    Veth("to-b", netns=a, addresses=["10.0.0.1/24"],
         peer=VethEnd("to-a", netns=b, addresses=["10.0.0.2/24"]))
    Route("far", dst="10.9.0.0/16", netns=b, via="10.0.0.1")
    Sysctl("net.ipv4.conf.all.rp_filter", value=2, netns=b)
    Masquerade("out", netns=a, src="10.0.0.0/24")
"""


@pytest.fixture
def lab(sandbox: Sandbox, tmp_path: Path) -> Sandbox:
    """A small stack, up; its file is `tmp_path`/lab.py."""
    (tmp_path / "lab.py").write_text(textwrap.dedent(LAB))
    sandbox.netdsl("up", str(tmp_path / "lab.py"), "--yes")
    return sandbox


def refresh(sandbox: Sandbox, *args: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what the first line of JSON says of each resource that drifted."""
    done = sandbox.netdsl("refresh", "--json", *args, check=False)
    assert done.returncode in (0, 3), done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["event"] == "drift"
    return done.returncode, {change["urn"]: change for change in lines[0]["drift"]}


def drifted(lab: Sandbox) -> None:
    """Change something of each sort by hand."""
    for line in (
        "ip -n a link set br0 mtu 1300",
        "ip -n a addr del 10.0.0.1/24 dev to-b",
        "ip -n b route del 10.9.0.0/16",
        "ip netns exec b sysctl -qw net.ipv4.conf.all.rp_filter=0",
    ):
        lab.run(["sh", "-ec", line])


def test_what_is_there_is_recorded(lab: Sandbox, tmp_path: Path) -> None:
    """The drift is shown with what is recorded and what is there; afterwards there is none, though the program is gone,
    and the kernel is as it was."""
    drifted(lab)
    (tmp_path / "lab.py").rename(tmp_path / "away.py")
    picture = lab.dump()
    code, found = refresh(lab, "--preview-only")
    assert code == 3
    assert {urn: (c["action"], c["diff"]) for urn, c in found.items()} == {
        "::a::bridge::br0": ("update", {"mtu": {"recorded": 1400, "there": 1300}}),
        "::a::address::10.0.0.1/24 dev to-b": ("forget", {}),
        "::b::route::far": ("forget", {}),
        "::b::sysctl::net/ipv4/conf/all/rp_filter": ("update", {"value": {"recorded": "2", "there": "0"}}),
    }
    assert refresh(lab, "--yes")[0] == 0
    assert refresh(lab, "--preview-only") == (0, {})
    assert lab.dump() == picture
    exported = json.loads(lab.netdsl("state", "export").stdout)["resources"]
    props = {resource["urn"]: resource["props"] for resource in exported}
    assert props["::a::bridge::br0"]["mtu"] == 1300
    assert "::b::route::far" not in props


def test_the_plan_stays(lab: Sandbox, tmp_path: Path) -> None:
    """After a refresh the plan has the same changes as before, and `up` brings everything back."""
    drifted(lab)

    def plan() -> set[tuple[str, str, str]]:
        changes = plan_of(lab, str(tmp_path / "lab.py"))
        return {(change["urn"], change["action"], json.dumps(change["diff"])) for change in changes}

    before = plan()
    assert len(before) == 4
    lab.netdsl("refresh", "--yes")
    assert plan() == before
    lab.netdsl("up", "--yes")
    assert plan() == set()
    assert refresh(lab, "--preview-only") == (0, {})


def test_a_refresh_can_be_taken_back(lab: Sandbox) -> None:
    """It is a run like others: a rollback returns to what was recorded before, and so heals the drift."""
    drifted(lab)
    lab.netdsl("refresh", "--yes")
    lab.netdsl("rollback", "--yes")
    assert refresh(lab, "--preview-only") == (0, {})
    assert [link["mtu"] for link in lab.ip("link", "show", "br0", netns="a")] == [1400]
    assert plan_of(lab) == []


def test_a_foreign_object_is_not_taken_for_ours(lab: Sandbox) -> None:
    """A link that was made anew under the same name is forgotten with what stands on it, and destroy refuses."""
    lab.run(["sh", "-ec", "ip -n a link del br0; ip -n a link add br0 type bridge"])
    _, found = refresh(lab, "--yes")
    assert {urn: c["action"] for urn, c in found.items()} == {"::a::bridge::br0": "forget"}
    assert "another object" in found["::a::bridge::br0"]["reason"]
    failed = lab.netdsl("plan", check=False)
    assert (failed.returncode, "exists already and is not this stack's" in failed.stderr) == (1, True)
    assert "br0" in lab.netdsl("destroy", "--yes", check=False).stderr


def test_a_netns_that_is_gone(lab: Sandbox, tmp_path: Path) -> None:
    """With a netns all that was in it is forgotten; destroy takes the rest away."""
    lab.run(["ip", "netns", "del", "b"])
    lab.wait_until(lambda: not [link for link in lab.ip("link", "show", netns="a") if link["ifname"] == "to-b"])
    _, found = refresh(lab, "--yes")
    assert {c["action"] for c in found.values()} == {"forget"}
    assert {urn for urn in found if urn.startswith("::b::")} == {
        "::b::veth-end::to-a",
        "::b::address::10.0.0.2/24 dev to-a",
        "::b::route::far",
        "::b::sysctl::net/ipv4/conf/all/rp_filter",
    }
    lab.netdsl("destroy", "--yes")
    assert lab.netns_names() == []


def test_what_no_record_can_say(lab: Sandbox) -> None:
    """A table whose rule somebody replaced is drift and stays recorded, so that it is still ours to mend."""
    lab.run(["sh", "-ec", "ip netns exec a nft flush chain ip out nat"])
    _, found = refresh(lab, "--yes")
    assert [(c["action"], "its record stays" in c["reason"]) for c in found.values()] == [("update", True)]
    assert refresh(lab, "--preview-only")[1].keys() == found.keys()
    lab.netdsl("up", "--yes")
    assert refresh(lab, "--preview-only") == (0, {})


def test_an_interrupted_run_is_settled(lab: Sandbox) -> None:
    """What a killed run left open is recorded as it is found."""
    sql = "UPDATE resources SET intent='update', next=props WHERE urn='::a::bridge::br0'"
    lab.run(["python3", "-c", f"import sqlite3; sqlite3.connect('{_db(lab)}', isolation_level=None).execute({sql!r})"])
    lab.run(["ip", "-n", "a", "link", "set", "br0", "mtu", "1300"])
    _, found = refresh(lab, "--yes")
    assert found["::a::bridge::br0"]["diff"] == {"mtu": {"recorded": 1400, "there": 1300}}
    assert refresh(lab, "--preview-only") == (0, {})
    assert [change["diff"] for change in plan_of(lab)] == [{"mtu": {"have": 1300, "want": 1400}}]


def _db(sandbox: Sandbox) -> Path:
    return Path(sandbox.env["NETDSL_STATE_DIR"]) / "lab.db"


def test_text(sandbox: Sandbox) -> None:
    """In the manner of a plan, from what is recorded to what is there."""
    sandbox.netdsl("up", VXLAN, "--yes")
    sandbox.run(["sh", "-ec", "ip -n vm2 link set vtep246 mtu 1400; ip -n vm1 neigh flush dev vtep245 nud permanent"])
    done = sandbox.netdsl("refresh", "--preview-only", check=False)
    assert (done.returncode, done.stdout) == (
        3,
        textwrap.dedent("""\
            two_node_vxlan
            netns vm2
              ~  vxlan vtep246
                   mtu: 1450 -> 1400
            to-vm2
              netns vm1
                x  neighbor 172.246.0.0 dev vtep245  (it is gone from the kernel)

            1 differ, 1 to forget (32 as recorded)
            """),
    )


def test_refusals(lab: Sandbox) -> None:
    """Without a confirmation, with the stack locked, or with none: a message, an exit code, no change."""
    drifted(lab)
    state = lab.netdsl("state", "export").stdout
    unconfirmed = lab.netdsl("refresh", check=False)
    assert (unconfirmed.returncode, "needs a confirmation" in unconfirmed.stderr) == (2, True)
    assert lab.netdsl("refresh", "--json", check=False).returncode == 2
    with (_db(lab).parent / "lab.lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = lab.netdsl("refresh", "--yes", check=False)
        assert (refused.returncode, "stack lab is locked by" in refused.stderr) == (5, True)
        assert lab.netdsl("refresh", "--preview-only", check=False).returncode == 3
    unknown = lab.netdsl("refresh", "other", check=False)
    assert (unknown.returncode, "there is no stack 'other'" in unknown.stderr) == (2, True)
    assert lab.netdsl("state", "export").stdout == state
