"""The ring lab as mininet makes it: `python3 mininet_ring.py N FOLDER [--check]` in a sandbox.

For mininet 2.3, Debian's package. It gives the nodes and the veth pairs; the rest is beyond it and comes from the files
of ring_batch.py in FOLDER, through `node.cmd`, as its users do. What differs from the other sides: a node is a shell
process, its namespace has no name in /run/netns, and each pair has the queues, addresses and MTU that mininet chooses.
"""

import sys
from pathlib import Path
from tempfile import NamedTemporaryFile

from mininet.link import Link
from mininet.node import Node
from ring_batch import SYSCTLS, overlay_ip, ring_neighbours

PING_SECONDS = 20


def lines(path):
    """A batch file without what mininet has made: the veth pairs."""
    return [line for line in path.read_text().splitlines() if " type veth " not in line]


def batch(node, words, program="ip"):
    """Run lines in a node."""
    with NamedTemporaryFile("w", suffix=".batch") as file:
        file.write("\n".join(words) + "\n")
        file.flush()
        out = node.cmd(f"{program} -batch {file.name}")
    if out.strip():
        raise SystemExit(f"{node}: {out.strip()}")


def main(count, folder, check):
    """Build, and ping the first container's neighbours from it if asked."""
    underlay = Node("underlay", inNamespace=True)
    batch(underlay, lines(folder / "underlay-first.batch"))
    nodes, containers = [], []
    for i in range(count):
        node, container = Node(f"n{i}", inNamespace=True), Node(f"c{i}", inNamespace=True)
        Link(node, underlay, intfName1=f"n{i}-eth0", intfName2=f"port{i}")
        Link(node, container, intfName1=f"n{i}-veth0", intfName2=f"c{i}-eth0")
        node.cmd(SYSCTLS)
        node.cmd(
            f"ip link set n{i}-eth0 down; ip link set n{i}-eth0 name eth0; ip link set n{i}-veth0 down;"
            f"ip link set n{i}-veth0 name veth0"
        )
        container.cmd(f"ip link set c{i}-eth0 down; ip link set c{i}-eth0 name eth0")
        words = lines(folder / f"n{i}.batch")
        words[1:1] = ["link set eth0 up", "link set veth0 up master br0"]
        batch(node, words)
        batch(container, lines(folder / f"c{i}.batch"))
        nodes.append(node)
        containers.append(container)
    for i, node in enumerate(nodes):
        batch(node, lines(folder / f"n{i}.fdb"), "bridge")
    batch(underlay, lines(folder / "underlay-last.batch"))
    for j in ring_neighbours(0, count) if check else ():
        answer = containers[0].cmd(f"ping -c 1 -W 1 -w {PING_SECONDS} {overlay_ip(j, 2)}")
        if " 0% packet loss" not in answer:
            raise SystemExit(f"no answer from the container of node {j}: {answer}")


main(int(sys.argv[1]), Path(sys.argv[2]), "--check" in sys.argv)
