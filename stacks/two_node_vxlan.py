"""Two container nodes joined by VXLAN: the smallest flannel-style overlay."""

from __future__ import annotations

from netdsl import Bridge, Netns, Route, Veth, VethEnd, Vxlan, VxlanPeer, stack


@stack
def two_node_vxlan(vni: int = 1, port: int = 8472):
    vm1, vm2 = Netns("vm1", forwarding=True), Netns("vm2", forwarding=True)
    wire = Veth("eth0", netns=vm1, addresses=["192.168.32.245/24"],
                peer=VethEnd("eth0", netns=vm2, addresses=["192.168.32.246/24"]))
    vteps = []
    for i, vm, underlay, ip in ((245, vm1, wire, "192.168.32.245"), (246, vm2, wire.peer, "192.168.32.246")):
        ns = Netns(f"ns{i}")
        with vm:
            br = Bridge(f"br{i}", addresses=[f"172.{i}.0.1/24"])
            Veth(f"veth{i}", master=br, peer=VethEnd("eth0", netns=ns, addresses=[f"172.{i}.0.2/24"]))
            vtep = Vxlan(f"vtep{i}", vni=vni, local=ip, dev=underlay, port=port, learning=False, mtu=1450, addresses=[f"172.{i}.0.0/32"])
        Route("default", netns=ns, dst="default", via=f"172.{i}.0.1")
        vteps.append(vtep)
    a, b = vteps
    VxlanPeer("to-vm2", vtep=a, peer=b, subnets=["172.246.0.0/24"])
    VxlanPeer("to-vm1", vtep=b, peer=a, subnets=["172.245.0.0/24"])
    return {"vm1_mac": a.mac, "vm2_mac": b.mac}
