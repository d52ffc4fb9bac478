"""The ring lab as `ip -batch` files, and a shell script that runs them.

    python ring_batch.py N FOLDER [--jobs J] [--enter nsenter|ip-n|each]
    sh FOLDER/run.sh

Writes into FOLDER one file of `ip` commands for each network namespace (two for
`underlay`, which acts first and last), one of `bridge` commands for each node,
and `run.sh`. The script is what an author who wants speed would write:

- all namespaces come from one `ip -batch`, all links of a namespace from one,
  with both ends of a veth pair created where they belong;
- `nsenter` rather than `ip -n`, which copies the mount namespace with all its
  netns mounts at each call; one entry a node serves its sysctls, `ip -batch`
  and `bridge -batch`;
- shared bridges come up last, when all their ports are there;
- with `--jobs 2`, the nodes are dealt out to two shells that run side by side.

`--enter each` is the plain script instead: one `ip -n NETNS ...` for each object.

Run the script in a sandbox (own user, network and mount namespaces, a private
/run/netns).
"""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

PORTS_PER_BRIDGE = 1000  # the kernel takes 1,023
MAX_NODES = 4096  # 172.16.0.0/12 holds so many /24
ONE_QUEUE = "numtxqueues 1 numrxqueues 1"  # saves two RCU grace periods for each pair

SYSCTLS = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"


def underlay_ip(i: int) -> str:
    return f"10.200.{i // 250}.{i % 250 + 1}"


def overlay_ip(i: int, host: int) -> str:
    return str(ipaddress.IPv4Address("172.16.0.0") + 256 * i + host)


def mac(what: int, i: int) -> str:
    """A locally administered address; `what` tells the kinds of link apart."""
    return f"02:{what:02x}:00:00:{i >> 8:02x}:{i & 255:02x}"


BR0, VETH0, CETH0, ETH0, PORT, VTEP0, BRIDGE, TRUNK, TRUNKP = range(1, 10)


def ring_neighbours(i: int, nodes: int) -> list[int]:
    """The up to four nodes that node i talks to, each once, never i itself."""
    near = dict.fromkeys((i + step) % nodes for step in (-2, -1, 1, 2))
    return [j for j in near if j != i]


def underlay_first(nodes: int) -> list[str]:
    """The bridges, down, and what joins them."""
    count = -(-nodes // PORTS_PER_BRIDGE)
    lines = [f"link add br{b} address {mac(BRIDGE, b)} type bridge" for b in range(count)]
    for b in range(1, count):
        lines += [
            f"link add trunk{b} address {mac(TRUNK, b)} {ONE_QUEUE} master br0 up"
            f" type veth peer name trunk{b}p address {mac(TRUNKP, b)} {ONE_QUEUE}",
            f"link set trunk{b}p master br{b} up",
        ]
    return lines


def underlay_last(nodes: int) -> list[str]:
    """The ports, which the nodes have made by now, and then the bridges up."""
    ports = [f"link set port{i} master br{i // PORTS_PER_BRIDGE} up" for i in range(nodes)]
    return ports + [f"link set br{b} up" for b in range(-(-nodes // PORTS_PER_BRIDGE))]


def node(i: int, nodes: int) -> list[str]:
    lines = [
        f"link add br0 address {mac(BR0, i)} up type bridge",
        f"address add {overlay_ip(i, 1)}/24 dev br0",
        f"link add veth0 address {mac(VETH0, i)} {ONE_QUEUE} master br0 up"
        f" type veth peer name eth0 address {mac(CETH0, i)} {ONE_QUEUE} netns c{i}",
        f"link add eth0 address {mac(ETH0, i)} {ONE_QUEUE} up"
        f" type veth peer name port{i} address {mac(PORT, i)} {ONE_QUEUE} netns underlay",
        f"address add {underlay_ip(i)}/16 dev eth0",
        f"link add vtep0 address {mac(VTEP0, i)} mtu 1450 up"
        f" type vxlan id 1 local {underlay_ip(i)} dev eth0 dstport 8472 nolearning",
        f"address add {overlay_ip(i, 0)}/32 dev vtep0",
    ]
    for j in ring_neighbours(i, nodes):
        peer = overlay_ip(j, 0)
        lines += [
            f"neighbour add {peer} lladdr {mac(VTEP0, j)} dev vtep0 nud permanent",
            f"route add {peer}/24 via {peer} dev vtep0 onlink protocol 78",
        ]
    return lines


def node_fdb(i: int, nodes: int) -> list[str]:
    return [f"fdb add {mac(VTEP0, j)} dev vtep0 dst {underlay_ip(j)} self permanent" for j in ring_neighbours(i, nodes)]


def container(i: int) -> list[str]:
    return [
        "link set eth0 up",
        f"address add {overlay_ip(i, 2)}/24 dev eth0",
        f"route add default via {overlay_ip(i, 1)} dev eth0 protocol 78",
    ]


def enter(netns: str, words: str, how: str) -> str:
    """One shell line that runs `ip WORDS` in a namespace."""
    if how == "ip-n":
        return f"ip -n {netns} {words}"
    return f"nsenter --net=/run/netns/{netns} ip {words}"


def node_lines(i: int, how: str) -> list[str]:
    """The shell lines that build node i and its container."""
    if how == "ip-n":
        lines = [
            f"ip netns exec n{i} sh -c '{SYSCTLS}'",
            f"ip -n n{i} -batch n{i}.batch",
            f"bridge -n n{i} -batch n{i}.fdb",
        ]
    else:
        work = f"set -e; {SYSCTLS}; ip -batch n{i}.batch; exec bridge -batch n{i}.fdb"
        lines = [f"nsenter --net=/run/netns/n{i} sh -c '{work}'"]
    return [*lines, enter(f"c{i}", f"-batch c{i}.batch", how)]


def one_by_one(files: dict[str, list[str]], nodes: int) -> list[str]:
    """The lines of a script with a command for each object, from the batch files."""
    lines = ["set -e", *(f"ip {words}" for words in files["netns.batch"])]
    lines += [f"ip -n underlay {words}" for words in files["underlay-first.batch"]]
    for i in range(nodes):
        lines.append(f"ip netns exec n{i} sh -c '{SYSCTLS}'")
        lines += [f"ip -n n{i} {words}" for words in files[f"n{i}.batch"]]
        lines += [f"bridge -n n{i} {words}" for words in files[f"n{i}.fdb"]]
        lines += [f"ip -n c{i} {words}" for words in files[f"c{i}.batch"]]
    return [*lines, *(f"ip -n underlay {words}" for words in files["underlay-last.batch"])]


def script(nodes: int, how: str, jobs: int) -> list[str]:
    """The lines of run.sh."""
    lines = ["set -e", 'cd "$(dirname "$0")"', "ip -batch netns.batch"]
    lines.append(enter("underlay", "-batch underlay-first.batch", how))
    if jobs == 1:
        for i in range(nodes):
            lines += node_lines(i, how)
    else:
        for job in range(jobs):
            lines.append("{")
            for i in range(job, nodes, jobs):
                lines += node_lines(i, how)
            lines.append(f":; }} & job{job}=$!")
        lines += [f"wait $job{job}" for job in range(jobs)]
    lines.append(enter("underlay", "-batch underlay-last.batch", how))
    return lines


def write(nodes: int, folder: Path, how: str = "nsenter", jobs: int = 1) -> Path:
    """Writes all files into folder (created if missing) and returns the script's path."""
    if not 1 <= nodes <= MAX_NODES:
        raise ValueError(f"nodes must be from 1 to {MAX_NODES}, not {nodes}")
    names = ["underlay", *(f"{kind}{i}" for i in range(nodes) for kind in "nc")]
    files = {
        "netns.batch": [f"netns add {name}" for name in names],
        "underlay-first.batch": underlay_first(nodes),
        "underlay-last.batch": underlay_last(nodes),
    }
    for i in range(nodes):
        files[f"n{i}.batch"] = node(i, nodes)
        files[f"n{i}.fdb"] = node_fdb(i, nodes)
        files[f"c{i}.batch"] = container(i)
    files["run.sh"] = one_by_one(files, nodes) if how == "each" else script(nodes, how, jobs)
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder / "run.sh"


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the ring lab as ip -batch files.")
    parser.add_argument("nodes", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--enter", choices=("nsenter", "ip-n", "each"), default="nsenter")
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    print(write(arguments.nodes, arguments.folder, arguments.enter, arguments.jobs))


if __name__ == "__main__":
    main()
