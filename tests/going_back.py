"""The lab that tests of going back share: it can grow, change, and hold a step that the kernel refuses."""

from __future__ import annotations

from pathlib import Path

LAB = """
from netdsl import *

@stack
def lab(mtu: int = 1500, extra: bool = False, broken: bool = False, cut: bool = False):
    here, there = Netns("here"), Netns("there")
    far = VethEnd("eth0", netns=there, mtu=mtu, addresses=["10.0.0.2/24"], up=not cut)
    Veth("eth0", netns=here, mtu=mtu, addresses=["10.0.0.1/24"], peer=far)
    Route("far", netns=there, dst="10.9.0.0/16", via="10.0.0.1")
    if extra:
        with Netns("more"):
            Bridge("br0", addresses=["10.7.0.1/24"])
    if broken:
        Sysctl("net/ipv4/conf/all/rp_filter", value="nonsense", netns=there)
    return {"mtu": mtu}
"""


def program(folder: Path, text: str = LAB, name: str = "lab.py") -> str:
    """The lab in a file."""
    path = folder / name
    path.write_text(text)
    return str(path)
