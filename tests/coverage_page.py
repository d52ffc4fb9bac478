"""What is tried on a real kernel, kind by kind, as a page: `python tests/coverage_page.py > docs/coverage.md`."""

from __future__ import annotations

import sys

from test_kinds_kernel import CASES, EVERY_PORT, FIRST
from test_properties_kernel import VALUES

from netdsl.kinds import KINDS
from netdsl.kinds.link import Link

HEAD = """# What is tried on a real kernel

Generated from the test cases with `python tests/coverage_page.py`; do not edit.

Every property in this table is set, read back, changed, read back, and taken out again in a real kernel, after which
the kernel shows what it shows where the property was never given. Its change is planned in place or as a replacement,
as the second and third column say. The commands that `plan --commands` prints for the objects give the same kernel
state. What is deleted or changed by hand is planned and put right. At the end `destroy` leaves the kernel as it was.
What all links have, such as `up`, `group` or `port_cost`, is tried on links of every kind, and named here where the
kind has it in its own way; where objects of a kind cannot have something, the last column says so.

"machine" is whatever kernel the tests run on; "full" is a complete Debian kernel (`python dev/fullkernel.py`), for
kinds and properties that not every kernel offers; "cloud" is Debian's kernel for virtual machines
(`python dev/cloudkernel.py`), for what even that one lacks.

| kind | kernel | changed in place | replaced | drift | not |
|---|---|---|---|---:|---|
"""


def page() -> str:
    """The page as Markdown."""
    return HEAD + "".join(map(row, KINDS))


def row(word: str) -> str:
    """A kind's line of the table."""
    cls, case = KINDS[word], CASES.get(word, {})
    values = {*VALUES.get(word, ()), *case.get("values", ())}
    own = [p for p in cls.properties.values() if p.name in values and not shared(word, p.name)]
    kernels = [name for name, tried in (("machine", word in FIRST or case.get("machine")), ("full", case)) if tried]
    if case.get("machine") or case.get("cloud"):
        kernels = ["machine" if case.get("machine") else "cloud"]
    cells = [
        f"[{cls.__name__}](kinds.md#{cls.__name__.lower()})",
        ", ".join(kernels),
        ", ".join(f"`{p.name}`" for p in own if not p.replace),
        ", ".join(f"`{p.name}`" for p in own if p.replace),
        str(len(case.get("drift", ()))) if case else "test_drift.py",
        "; ".join(f"`{name}`: {why}" for name, why in case.get("unlike", {}).items()),
    ]
    return f"| {' | '.join(cells)} |\n"


def unlike(word: str) -> set[str]:
    """Properties of every link that objects of a kind cannot have."""
    found = set(CASES.get(word, {}).get("unlike", ()))
    return found - {"ports"} | set(EVERY_PORT) if "ports" in found else found


def shared(word: str, name: str) -> bool:
    """Whether a property is that of every link, tried on the first kinds."""
    cls = KINDS[word]
    return cls.is_link and word not in ("bridge", "veth") and cls.properties[name] == Link.properties.get(name)


if __name__ == "__main__":
    sys.stdout.write(page())
