"""Events to send: the examples that the schemas ship, under identities of their own."""

import json
import uuid

from gateway import ROOT


def examples():
    """(event name, version, the good events, the bad ones) of every schema."""
    for file in sorted((ROOT / "schemas").rglob("*.examples.json")):
        found = json.loads(file.read_text())
        name = ":".join(file.parent.relative_to(ROOT / "schemas").parts)
        yield name, int(file.name.split(".")[0]), found["good"], found["bad"]


def good_events() -> list[dict]:
    return [event for _, version, good, _ in examples() for event in good if event.get("schema_version", 1) <= version]


def new_uuid() -> str:
    return str(uuid.uuid4())


def event(**fields) -> dict:
    """A small good event with an identity of its own."""
    base = next(good[0] for name, _, good, _ in examples() if name == "menu:section:reached")
    return base | {"event_uuid": new_uuid()} | fields


def text(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
