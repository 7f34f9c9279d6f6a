"""Event names with schemas in several versions, and events of them: made at random from a seed, and from the shipped schemas."""

from __future__ import annotations

import json
import string
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import typed_kinds as kinds
from lake_gateway import schema
from typed_kinds import Column, Kind, joined, list_of, of, struct_of

LONG = "n" * 250
# Names that columns cannot have, or have already, or that differ in nothing that an engine sees.
NAMES = ["itemId", "itemid", "ITEMID", "item id", "item.id", "item-id", "item_id", "é", "è", "日本", "🍲", "", "_", "1st"]
NAMES += ["select", "table", "order", "group", 'quo"te', "back`tick", "it's", "semi;colon", "back\\slash", "slash/tilde~1"]
NAMES += ["new\nline", "count(*)", "$ref"]
NAMES += ["Source", "event_TYPE", "created_date", "is_late", "_other", "_unconverted", "payload", "null", "a_v2", "a", "element", "list"]
NAMES += [LONG, f"{LONG}2", "price", "note", "seen", "count", "name", "tags", "place", "when"]

ONE = struct_of({"m": kinds.INTEGER, "n": kinds.TEXT})
OTHER = struct_of({"m": kinds.TEXT, "k": kinds.BOOLEAN})
# What a field is in versions 1, 2, …, and which columns it has then: the type of each, with its versions.
CHANGES: list[tuple[list[Kind], list[tuple[Column, list[int]]]]] = [
    ([kinds.INTEGER, kinds.NUMBER], [("number", [1, 2])]),
    ([kinds.INTEGER, kinds.CENTS], [("decimal(38,2)", [1, 2])]),
    ([kinds.SMALL_CENTS, kinds.CENTS], [("decimal(38,2)", [1, 2])]),
    ([kinds.CENTS, kinds.MILLS], [("decimal(38,4)", [1, 2])]),
    ([kinds.CENTS, kinds.NUMBER], [("number", [1, 2])]),
    ([kinds.DATE, kinds.TEXT], [("text", [1, 2])]),
    ([kinds.TIME, kinds.DATE], [("text", [1, 2])]),
    ([kinds.TEXT, kinds.INTEGER], [("text", [1]), ("integer", [2])]),
    ([kinds.TEXT, kinds.INTEGER, kinds.TEXT], [("text", [1, 3]), ("integer", [2])]),
    ([kinds.BOOLEAN, kinds.TIME, kinds.NUMBER], [("boolean", [1]), ("timestamp", [2]), ("number", [3])]),
    ([kinds.ANY, kinds.INTEGER], [("json", [1]), ("integer", [2])]),
    ([kinds.CENTS, kinds.UNION], [("decimal(38,2)", [1]), ("json", [2])]),
    ([kinds.ANY, kinds.UNION], [("json", [1, 2])]),
    ([list_of(kinds.INTEGER), list_of(kinds.NUMBER)], [({"list": "number"}, [1, 2])]),
    ([list_of(kinds.INTEGER), list_of(kinds.TEXT)], [({"list": "json"}, [1, 2])]),
    ([kinds.TEXT, list_of(kinds.TEXT)], [("text", [1]), ({"list": "text"}, [2])]),
    ([ONE, list_of(ONE)], [(ONE.column, [1]), ({"list": ONE.column}, [2])]),
    ([ONE, OTHER], [({"struct": {"m": "json", "n": "text", "k": "boolean"}}, [1, 2])]),
]


@dataclass
class Made:
    """An event name with the kinds of its fields in each version."""

    name: str
    versions: list[dict[str, Kind]]
    required: list[str]
    is_open: bool
    # By field, what its columns must be.
    columns: dict[str, list[tuple[Column, list[int]]]] = field(default_factory=dict)

    def schemas(self) -> dict[tuple[str, int], dict]:
        made = {}
        for number, fields in enumerate(self.versions, 1):
            body = schema({name: kind.schema for name, kind in fields.items()})
            body["required"] += self.required
            body["$defs"] = {"amount": of("integer", minimum=0)}
            body |= {} if self.is_open else {"additionalProperties": False}
            if not self.is_open:
                body["properties"] |= {"schema_version": {}, "source": {}}
            made[self.name, number] = body
        return made

    def body(self, random: Random, version: int) -> list[tuple[str, str]]:
        fields = self.versions[version - 1]
        body = [(name, kind.value(random)) for name, kind in fields.items() if name in self.required or random.random() < 0.8]
        if self.is_open and random.random() < 0.5:
            body.append((random.choice(["more", "More é", "a/b~c", 'the "other"']), kinds.anything(random)))
        return body


def made(random: Random, name: str, number: int) -> Made:
    """Generated fields; those of a change, the same for each seed, so that each change is tested."""
    names = random.sample([name for name in NAMES if name != "a"], 12)
    first = {name: kinds.some(random, NAMES) for name in names[: random.randrange(1, 8)]}
    required = [name for name in first if random.random() < 0.25]
    found = Made(name, [first], required, is_open=random.random() < 0.7)
    if number % 3:
        change, columns = CHANGES[(2 * (number // 3) + number % 3 - 1) % len(CHANGES)]
        found.versions = [first | {"a": kind} for kind in change]
        # A field that comes with the second version, and one that leaves with it.
        (second, *_), comes = found.versions[1:], kinds.some(random, NAMES)
        for version in found.versions[1:]:
            version[names[-1]] = comes
        gone = next((name for name in first if name not in required), None)
        if gone is not None and random.random() < 0.5:
            second.pop(gone)
        found.columns["a"] = columns
    if number == 0:
        first["deep"] = kinds.nested(20, kinds.INTEGER)
        column: Column = "json"
        for _ in range(16):
            column = {"struct": {"in": column}}
        found.columns["deep"] = [(column, [1])]
    for version, fields in enumerate(found.versions, 1):
        for field_name, kind in fields.items():
            if field_name not in ("a", "deep"):
                columns = found.columns.setdefault(field_name, [(kind.column, [])])
                columns[0][1].append(version)
    return found


class Shipped:
    """Events of a shipped schema, made from the words that the shipped schemas use; another word is an error."""

    PATTERNS = {
        "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": lambda random: letters(random, string.ascii_letters + "._-", "x", 63),
        "^[0-9a-f]{64}$": lambda random: f"{random.getrandbits(256):064x}",
        "^[A-Z]{2}$": lambda random: random.choice(["PT", "JP"]),
        "^[A-Z]{3}$": lambda random: random.choice(["EUR", "JPY"]),
        "^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$": lambda random: random.choice(["pt-PT", "en", "zh-Hant-TW"]),
        "^/[^?#\\s]*$": lambda random: "/" + letters(random, "é/%20日", "", 9),
        "^[a-z][a-z0-9+.-]*://[^/?#]+/?$": lambda random: random.choice(["https://lakegate.example", "android-app://a.b/"]),
    }
    FORMATS = {
        "uuid": lambda random: f'"{uuid.UUID(int=random.getrandbits(128))}"',
        "date-time": kinds.time,
        "date": kinds.DATE.value,
        "email": lambda random: f'"guest{random.getrandbits(20)}@lakegate.example"',
        "uri": lambda random: f'"https://lakegate.example/{random.getrandbits(30)}"',
    }
    KNOWN = {"$schema", "title", "description", "examples", "type", "allOf", "required", "properties", "items", "minItems", "maxItems"}
    KNOWN |= {"uniqueItems", "enum", "pattern", "format", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum"}
    KNOWN |= {"dependentRequired", "unevaluatedProperties", "additionalProperties"}

    def __init__(self, folder: Path):
        self.folder = folder

    def versions(self) -> list[tuple[str, int, Path]]:
        found = [path for path in self.folder.rglob("*.json") if path.stem.isdigit()]
        return sorted((":".join(path.relative_to(self.folder).parts[:-1]), int(path.stem), path) for path in found)

    def read(self, path: Path, pointer: str = "") -> dict:
        """A schema, or a part of it, with all references replaced."""
        found = json.loads(path.read_text())
        for token in pointer.split("/")[1:]:
            found = found[token]
        return self.inlined(found, path)

    def inlined(self, part: object, path: Path) -> object:
        if isinstance(part, list):
            return [self.inlined(item, path) for item in part]
        if not isinstance(part, dict):
            return part
        own = {key: self.inlined(value, path) for key, value in part.items() if key not in ("$ref", "description")}
        if not isinstance(part.get("$ref"), str):
            return own
        file, _, pointer = part["$ref"].partition("#")
        return self.read(self.folder / file.lstrip("/") if file else path, pointer) | own

    def value(self, random: Random, part: dict) -> str:
        assert set(part) <= self.KNOWN, f"this test does not know {set(part) - self.KNOWN}"
        if "enum" in part:
            return json.dumps(random.choice(part["enum"]))
        match part["type"]:
            case "boolean":
                return random.choice(["true", "false"])
            case "integer" | "number" as kind:
                low, high = part.get("minimum", part.get("exclusiveMinimum", 0) + 1), part.get("maximum", 2**60)
                whole = random.choice([low, high, random.randint(int(low), int(high))])
                return f"{whole}.5" if kind == "number" and low < whole < high else str(whole)
            case "array":
                count = random.randint(part.get("minItems", 0), min(3, part.get("maxItems", 3)))
                return f"[{','.join({self.value(random, part['items']): None for _ in range(count)})}]"
            case "object":
                return joined(random, self.members(random, part))
        if "format" in part and "pattern" not in part:
            return self.FORMATS[part["format"]](random)
        if "pattern" in part:
            return json.dumps(self.PATTERNS[part["pattern"]](random))
        return json.dumps(letters(random, "aé🍲\"'", "x", part["maxLength"] - 1))

    def members(self, random: Random, part: dict) -> list[tuple[str, str]]:
        has = {name for name in part["properties"] if name in part.get("required", []) or random.random() < 0.7}
        for name, others in part.get("dependentRequired", {}).items():
            has |= set(others) if name in has else set()
        return [(name, self.value(random, part["properties"][name])) for name in sorted(has)]


def letters(random: Random, among: str, first: str, most: int) -> str:
    return first + "".join(random.choice(among) for _ in range(random.randint(0, min(most, 12))))
