"""What a row of a typed table must hold, told from the event alone, by a second writing of the rules (docs/lake.md, "Typed tables").

Numbers are taken from their digits, never through a double. `expected` says what each cell must be; `put_together` makes the event
again from a row, without knowing what should have converted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

ENVELOPE = {"event_uuid", "event_name", "created_at", "schema_version"}
ENVELOPE |= {"created_datetime", "event_type", "event_subtype", "received_datetime", "source", "dedup_scope"}
TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|([+-])(\d\d):(\d\d))")


class Left(Exception):
    """The value has no exact place in its column."""


def parsed(text: str) -> object:
    """JSON with exact numbers; no object has a name twice."""

    def members(pairs: list) -> dict:
        assert len(dict(pairs)) == len(pairs), f"a name twice: {pairs}"
        return dict(pairs)

    return json.loads(text, parse_float=Decimal, object_pairs_hook=members)


def is_number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def exponent(number: Decimal) -> int:
    return number.as_tuple().exponent


def whole(value: int | Decimal) -> int | None:
    if isinstance(value, int):
        return value
    if abs(value.adjusted()) > 5_000:
        return None
    return int(value) if Fraction(value).denominator == 1 else None


def scalar(kind: str, value: object) -> object:
    """The cell of a value in a column of this type."""
    needed = bool if kind == "boolean" else str
    if kind in ("boolean", "text", "timestamp", "date"):
        if not isinstance(value, needed):
            raise Left
        return {"timestamp": timestamp, "date": day}.get(kind, needed)(value)
    if not is_number(value):
        raise Left
    integer = whole(value)
    if kind == "integer":
        if integer is None or not -(2**63) <= integer < 2**63:
            raise Left
        return integer
    if kind == "number":
        double = float(str(value))
        is_exact = integer is None or abs(double) != float("inf") and integer in (int(double), whole(Decimal(repr(double))))
        if abs(double) == float("inf") or not is_exact:
            raise Left
        return double
    precision, scale = (int(number) for number in re.fullmatch(r"decimal\((\d+),(\d+)\)", kind).groups())
    scaled = Fraction(value) * 10**scale
    if scaled.denominator != 1 or abs(scaled) >= 10**precision:
        raise Left
    return Decimal(f"{int(scaled)}e-{scale}")


def timestamp(text: str) -> datetime:
    """In UTC, digits beyond microseconds cut off; of the years 1 to 9999, as Python's own."""
    parts = TIME.fullmatch(text)
    if parts is None or parts[4] == "60":
        raise Left
    micros = int(Fraction(f"0{parts[5]}") * 1_000_000) if parts[5] else 0
    offset = timedelta(hours=int(parts[8] or 0), minutes=int(parts[9] or 0)) * (-1 if parts[7] == "-" else 1)
    try:
        local = datetime.fromisoformat(f"{parts[1]}T{parts[2]}:{parts[3]}:{parts[4]}") + timedelta(microseconds=micros)
        return local - offset
    except (ValueError, OverflowError):
        raise Left from None


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Left from None


def token(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


class Row:
    """What the row of an event must hold: cells by column, and what is left beside them, by place."""

    def __init__(self, columns: list[dict], event: dict, version: int, seen: Counter):
        self.unconverted, self.other, self.seen = {}, {}, seen
        self.cells = dict.fromkeys((column["column"] for column in columns), None)
        for name, value in event.items():
            mine = [column for column in columns if column["field"] == name]
            if name in ENVELOPE:
                continue
            if not mine:
                self.other[f"/{token(name)}"] = value
                self.seen["_other"] += 1
                continue
            column = next((column for column in mine if version in column["versions"]), mine[-1])
            self.cells[column["column"]] = self.cell(column["kind"], value, f"/{token(name)}")

    def cell(self, kind: object, value: object, place: str) -> object:
        if value is None:
            self.seen["null"] += 1
            return None
        try:
            return self.converted(kind, value, place)
        except Left:
            self.unconverted[place] = value
            self.seen["_unconverted"] += 1
            return None

    def converted(self, kind: object, value: object, place: str) -> object:
        self.seen["empty"] += value in ("", [], {})
        if kind == "json":
            self.seen["json"] += 1
            return value
        if isinstance(kind, str):
            cell = scalar(kind, value)
            self.seen[kind] += 1
            return cell
        if "list" in kind:
            if not isinstance(value, list):
                raise Left
            self.seen["list"] += 1
            return [self.cell(kind["list"], item, f"{place}/{index}") for index, item in enumerate(value)]
        if not isinstance(value, dict):
            raise Left
        self.seen["struct"] += 1
        members = {member["field"]: member for member in kind["struct"]}
        cells = dict.fromkeys((member["column"] for member in kind["struct"]), None)
        for name, item in value.items():
            here = f"{place}/{token(name)}"
            if member := members.get(name):
                cells[member["column"]] = self.cell(member["kind"], item, here)
            else:
                self.other[here] = item
                self.seen["_other"] += 1
        return cells


def read(kind: object, cell: object) -> object:
    """A cell as an engine gives it, with JSON text parsed, so that it compares with what is expected."""
    if cell is None:
        return None
    if kind == "json":
        return parsed(cell)
    if isinstance(kind, str):
        return cell
    if "list" in kind:
        return [read(kind["list"], item) for item in cell]
    kinds = {member["column"]: member["kind"] for member in kind["struct"]}
    assert list(cell) == list(kinds), (cell, kinds)
    return {name: read(kinds[name], item) for name, item in cell.items()}


def is_same(a: object, b: object) -> bool:
    """Equal, and of one type: True is not 1, 1 is not 1.0, and a decimal has the digits of its column."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same(a[name], b[name]) for name in a)
    return a == b and (not isinstance(a, Decimal) or exponent(a) == exponent(b))


def put_together(columns: list[dict], cells: dict[str, object], unconverted: dict, other: dict) -> dict:
    """The event's own members, from its row."""
    event: dict = {}
    for column in columns:
        cell = cells[column["column"]]
        if cell is not None:
            assert column["field"] not in event, f"{column['field']} is in two columns"
            event[column["field"]] = back(column["kind"], cell)
    for place, value in (unconverted | other).items():
        *path, last = (part.replace("~1", "/").replace("~0", "~") for part in place.split("/")[1:])
        parent: dict | list = event
        for name in path:
            parent = parent[int(name)] if isinstance(parent, list) else parent[name]
        index = int(last) if isinstance(parent, list) else last
        before = parent[index] if isinstance(parent, list) else parent.get(index)
        assert before is None, f"{place} has two values"
        parent[index] = value
    return event


def back(kind: object, cell: object) -> object:
    if isinstance(kind, str) or cell is None:
        return cell
    if "list" in kind:
        return [back(kind["list"], item) for item in cell]
    cells = [(member["field"], member["kind"], cell[member["column"]]) for member in kind["struct"]]
    return {field: back(kind, item) for field, kind, item in cells if item is not None}


def is_worth(value: object, found: object) -> bool:
    """Whether a value of an event is worth what was found of it: a member that is null is none."""
    if isinstance(value, dict) and isinstance(found, dict):
        return all(is_worth(value.get(name), found.get(name)) for name in value | found)
    if isinstance(value, list) and isinstance(found, list):
        return len(value) == len(found) and all(map(is_worth, value, found))
    if isinstance(found, datetime):
        return timestamp(value) == found
    if isinstance(found, date):
        return value == found.isoformat()
    if is_number(value) and isinstance(found, float):
        return float(str(value)) == found and (whole(value) is None or whole(value) in (int(found), whole(Decimal(repr(found)))))
    if is_number(value) and is_number(found):
        return value == found
    return type(value) is type(found) and value == found

