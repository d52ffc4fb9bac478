"""Cases of every kind, as data: a stack before, the kernel, the stack now, and the change that is planned for it.

A file in cases/ holds those of one kind. At its top:

    around  statements that every case starts with; what they declare is recorded and in the kernel as it should be
    focus   title of the resource that the cases are about; absent: the one that `want` (else `was`) makes

A case, of which only `what` and the expected change have to be there:

    what        the case in words
    around      instead of the file's
    was         an expression that made the resource: it is recorded, and in the kernel
    have        properties that the kernel shows otherwise than `was` says
    extra       what only the state knows of it
    gone        the kernel does not have it any more
    foreign     the kernel has it, but it was never recorded
    replaced    the kernel has another one in its place
    twins       how many more of its identity the kernel has
    want        an expression that makes it now; absent: it is not wanted any more
    action      what is planned for it
    diff        property -> have and want; a value that is not there is left out
    reason      why, where the plan says so
    falls       what takes it along
    moved_from  the logical name it had
    commands    the equivalent commands of the change
    also        title -> action of all other resources that do not stay the same
    conflict    instead of a change: words of the error
    known       what is wrong as yet with what the case says
"""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

import netdsl
from keyfiles import ThoughtUp
from netdsl.engine.change import Change, Plan
from netdsl.engine.compile import Encoding, all_steps, assign_ifindexes
from netdsl.engine.deploy import relate_offline
from netdsl.engine.observe import Observation
from netdsl.engine.plan import make_plan
from netdsl.errors import ConflictError
from netdsl.kinds import KINDS
from netdsl.lang.dump import Scope
from netdsl.lang.item import Have, Item
from netdsl.lang.naming import altname
from netdsl.lang.stack import declare

FOLDER = Path(__file__).parent / "cases"
FILES = {path.stem: tomllib.loads(path.read_text()) for path in sorted(FOLDER.glob("*.toml"))}
CASES = {
    f"{word}: {case['what']}": {"around": file.get("around", ""), "focus": file.get("focus", ""), **case}
    for word, file in FILES.items()
    for case in file["case"]
}
FIRST_COOKIE = 100


def declared(around: str, expression: str) -> tuple[list[Item], str]:
    """Items in dependency order, and the urn of what the expression made."""
    names: dict[str, Any] = {name: getattr(netdsl, name) for name in netdsl.__all__}
    body = f"{around.strip()}\nreturn {expression.strip() or 'None'}"
    exec("@stack\ndef lab():\n" + textwrap.indent(body, "    "), names)
    done = declare(names["lab"], "lab", {}, observer=ThoughtUp())
    return relate_offline(done.items), getattr(done.outputs, "urn", "")


def shown(item: Item, index: int) -> Have:
    """An object as the kernel shows it when it is as it should be; what is not managed has the kernel's default."""
    props = {p.name: p.kernel for p in item.kind.properties.values()} | item.props
    have = Have(getattr(item.kind, "kernel", "") or item.kind.word, props)
    if item.key[0] == "netns":
        props["cookie"] = item.extra["cookie"] = FIRST_COOKIE + index
        have.marks = (altname("lab", "lo"),)
    if item.kind.is_link:
        have.ifindex = item.extra["ifindex"] = (1 << 20) + index
        have.marks = (altname("lab", item.name),)
    elif item.kind.family == "nft":
        have.marks = (altname("lab", item.name),)
    return have


def observed(case: dict[str, Any], old: list[Item], title: str) -> tuple[list[Item], Observation]:
    """What is recorded and what the kernel shows, made from `around`, `was` and what the case says about both."""
    seen = Observation(scopes={"": Scope("", {})})
    records = []
    for index, item in enumerate(old):
        have = shown(item, index)
        if item.title == title:
            have.props.update(case.get("have", {}))
            have.twins = (have.props,) * case.get("twins", 0)
            item.extra.update(case.get("extra", {}))
        if item.title == title and (case.get("replaced") or case.get("foreign")):
            have.marks, have.ifindex = (), 7
            have.props |= {"cookie": 7} if "cookie" in have.props else {}
        if not (item.title == title and case.get("foreign")):
            records.append(attrs.evolve(item, needs=item.kind.needs(item.netns, item.name, item.props)))
        if not (item.title == title and case.get("gone")):
            seen.found[item.key] = have
    for key, have in seen.found.items():
        scope = seen.scopes.setdefault(key[1], Scope(key[1], {}))
        scope.found[key] = have
        if key[0] == "link":
            scope.links[have.ifindex] = key[2]
    return records, seen


def commands(plan: Plan, change: Change, seen: Observation) -> list[str]:
    """The equivalent commands of one change."""
    encoding = Encoding(plan, seen, lambda netns: 0)
    found: list[str] = []
    for step in all_steps(plan):
        if step.change is change:
            encoding.deleting = step.verb == "delete"
            found += step.commands(encoding)
    return found


@pytest.mark.parametrize("name", CASES)
def test_what_is_recorded_is_taken_back(name: str) -> None:
    """Each property in the form in which it is exported is one that an import accepts."""
    case = CASES[name]
    for expression in (case.get("was", ""), case.get("want", "")):
        for item in declared(case["around"], expression)[0]:
            for word, value in json.loads(json.dumps(item.props)).items():
                assert item.kind.properties[word].type.check_recorded(value) == value, (item.title, word)


@pytest.mark.parametrize("name", CASES)
def test_case(name: str) -> None:
    """The change that is planned, and its commands, are those of the case."""
    case = CASES[name]
    old, old_urn = declared(case["around"], case.get("was", ""))
    wanted, urn = declared(case["around"], case.get("want", ""))
    by_urn = {item.urn: item.title for item in [*old, *wanted]}
    title = case["focus"] or by_urn[urn or old_urn]
    records, seen = observed(case, old, case["focus"] or by_urn.get(old_urn, ""))
    if "conflict" in case:
        with pytest.raises(ConflictError, match=re.escape(case["conflict"])) as caught:
            make_plan("lab", wanted, records, seen)
        assert len(caught.value.problems) == 1
        return
    plan = make_plan("lab", wanted, records, seen)
    assign_ifindexes(plan, seen, records)
    focus, *others = sorted(
        (c for c in plan.changes if c.item.title == title), key=lambda c: c.item.urn.endswith("::old")
    )
    others += [change for change in plan.changes if change.item.title != title]
    diff = {name: {"have": have, "want": want} for name, (have, want) in focus.diffs.items()}
    assert {
        "action": focus.action.value,
        "diff": {name: {k: v for k, v in pair.items() if v is not None} for name, pair in diff.items()},
        "reason": focus.reason,
        "falls": focus.falls,
        "moved_from": focus.moved_from,
        "commands": commands(plan, focus, seen),
        "also": {change.item.title: change.action.value for change in others if change.pending},
    } == {
        "action": case["action"],
        "diff": case.get("diff", {}),
        "reason": case.get("reason", ""),
        "falls": case.get("falls", ""),
        "moved_from": case.get("moved_from", ""),
        "commands": case.get("commands", []),
        "also": case.get("also", {}),
    }


def test_every_kind_has_its_cases() -> None:
    """Each kind has a file of cases; among them are a creation, a deletion, and what is left or changed in place."""
    assert set(FILES) == set(KINDS)
    for word, file in FILES.items():
        actions = {case.get("action") for case in file["case"]}
        assert {"create", "delete"} <= actions, word
        assert actions & {"same", "update", "replace"}, word
