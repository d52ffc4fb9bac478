"""Two nodes with a slow line between them: what each sends is held back, and if you like lost.

netdsl up stacks/slow_link.py -p delay=50ms --verify
netdsl exec left -- ping 10.0.0.2          # 100 ms: there and back
netdsl up stacks/slow_link.py -p loss=10   # changes in place, while the ping goes on
"""

from __future__ import annotations

from netdsl import Netem, Netns, Reachable, Veth, VethEnd, stack


@stack
def slow_link(delay: str = "20ms", jitter: str = "0ms", loss: float = 0.0, rate: str = "0bit") -> dict[str, str]:
    """Two nodes with a slow line between them.

    delay   how long a packet takes each way
    jitter  how much that varies
    loss    how many packets are lost each way, in percent
    rate    how fast the line is; 0bit: as fast as it goes
    """
    far = VethEnd("eth0", netns=Netns("right"), addresses=["10.0.0.2/24"])
    left = Netns("left")
    near = Veth("eth0", netns=left, addresses=["10.0.0.1/24"], peer=far)
    for end in (near, far):
        Netem("line", dev=end, delay=delay, jitter=jitter, loss=loss, rate=rate)
    Reachable(left, far)
    return {"left": "10.0.0.1", "right": "10.0.0.2"}
