"""Two wires used as one: the stack `bond`."""

from __future__ import annotations

import pytest

from labs import STACKS, answers, plan_of
from sandbox import Sandbox

BOND = str(STACKS / "bond.py")


def active(sandbox: Sandbox) -> str:
    """The wire that the left host uses."""
    name: str = sandbox.ip("link", "show", "bond0", netns="left")[0]["linkinfo"]["info_data"].get("active_slave", "")
    return name


@pytest.mark.fullkernel
def test_the_other_wire_takes_over(sandbox: Sandbox) -> None:
    """Packets pass by the primary wire; when it is cut they pass by the other, and the plan shows the cut wire."""
    sandbox.netdsl("up", BOND, "--yes")
    assert plan_of(sandbox, BOND) == []
    assert answers(sandbox, "left", "10.60.0.2") == 64
    assert sandbox.wait_until(lambda: active(sandbox) == "wire0")
    sandbox.run(["ip", "-n", "left", "link", "set", "wire0", "down"])
    assert sandbox.wait_until(lambda: active(sandbox) == "wire1")
    assert answers(sandbox, "left", "10.60.0.2") == 64
    (cut,) = plan_of(sandbox, BOND)
    assert (cut["name"], cut["diff"]) == ("wire0", {"up": {"have": False, "want": True}})
    sandbox.netdsl("up", BOND, "--yes")
    assert sandbox.wait_until(lambda: active(sandbox) == "wire0")
    sandbox.netdsl("destroy", "bond", "--yes")
    assert sandbox.netns_names() == []
