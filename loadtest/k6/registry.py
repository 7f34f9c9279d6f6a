"""What is sent: the schemas' own examples, or those of a hundred event types made from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

TYPES = 100


def newest(schemas: Path) -> dict[str, Path]:
    """The file of each event's newest version, by event name."""
    found: dict[str, Path] = {}
    for file in sorted(schemas.rglob("*.json"), key=lambda file: (file.parent, len(file.name), file.name)):
        if file.stem.isdecimal():
            found[":".join(file.parent.relative_to(schemas).parts)] = file
    return found


def good_events(names: dict[str, Path]) -> list[dict]:
    """For lib/events.js: the examples of all `names`, without the fields that differ each time; those sent most come first."""

    def rank(name: str):
        copy = name.rpartition("_")[2]
        return int(copy) if copy.isdecimal() else 0, not name.startswith("menu:"), name

    found = []
    for name in sorted(names, key=rank):
        file = names[name]
        for example in json.loads(file.read_text())["examples"]:
            event = {field: value for field, value in example.items() if field not in ("event_uuid", "created_at")}
            text = json.dumps(event | {"event_name": name}, ensure_ascii=False, separators=(",", ":"))
            found.append({"name": name, "rest": text.removeprefix("{")})
    return found


def bad_events(schemas: Path) -> list[dict]:
    """For lib/bad.js: what the schemas' authors say is wrong, and what it is rejected with."""
    files = sorted(schemas.rglob("*.examples.json"))
    found = [one for file in files for one in json.loads(file.read_text())["bad"]]
    return [{field: one[field] for field in ("event", "code", "pointer")} for one in found]


def hundred_types(schemas: Path, folder: Path) -> Path:
    """A registry in `folder`: the schemas, and copies of them under other names until there are a hundred."""
    shutil.copytree(schemas, folder)
    originals = list(newest(schemas).values())
    for number in range(TYPES - len(originals)):
        original = originals[number % len(originals)].parent
        copy = folder / original.relative_to(schemas).with_name(f"{original.name}_{number // len(originals) + 1}")
        copy.mkdir()
        for version in original.glob("*.json"):
            shutil.copy(version, copy)
    return folder
