"""Kinds of fields, as a test of typed tables makes them: a schema, the column type that it has, and values as JSON text.

The column types are written here by hand, from docs and design, and not asked of the gateway.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

# A column type: a word such as "integer" or "decimal(38,2)", {"list": type}, or {"struct": {field: type}}.
Column = str | dict


@dataclass(frozen=True)
class Kind:
    schema: dict | bool
    column: Column
    value: Callable[[Random], str]


TEXTS = ["", " ", "a", "null", "12", "true", "2026-11-28", "café", "日本語", "🍲 stew", 'say "hi"', "it's", "back\\slash", "{}", "[1]"]
TEXTS += ["line\nbreak\r\n\ttab", "zero\u0000byte", "e\u0301 and é", "\u2028", "a" * 300, "NaN", "%s'; DROP TABLE events; --"]
INTEGERS = ["0", "-0", "1", "-1", "12.0", "1e3", "-2.50e1", "9007199254740993", "-9007199254740993", "9223372036854775807"]
INTEGERS += ["-9223372036854775808", "9.223372036854775807e18", "100000e-5"]
BEYOND = ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "123456789012345678901234567890", "1e30"]
NUMBERS = ["0", "-0.0", "0.1", "1.5", "1e300", "-1e-300", "5e-324", "1.7976931348623157e308", "0.30000000000000000001", "1e23"]
NUMBERS += ["9007199254740992", "18014398509481984", "1E+2", "3.141592653589793238462643", "1e-400", "100000000000000000000000"]
INEXACT = ["9007199254740993", "-9007199254740993", "18014398509481985", "12345678901234567890.0"]
TIMES = ["2026-11-28T01:02:03Z", "2026-11-28T01:02:03.1+02:00", "2026-11-28T01:02:03.123456789-11:30", "1969-12-31T23:59:59.9999999Z"]
TIMES += ["1970-01-01T00:00:00Z", "0001-01-02T00:00:00.000001Z", "9999-12-30T12:00:00.999999Z"]
TIMES += ["2024-02-29T23:59:59.000000-00:00", "1883-11-18T12:00:00.5+14:00", "2026-11-28t01:02:03z", "2300-01-01T00:00:00+23:59"]
LEAP_SECONDS = ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60.5+01:00"]
DATES = ["1970-01-01", "2024-02-29", "0001-01-01", "9999-12-31", "1969-12-31", "1582-10-10"]


def text(random: Random) -> str:
    if random.random() < 0.02:
        return json.dumps("long é " * random.randrange(1_000, 8_000))
    value = random.choice(TEXTS) if random.random() < 0.6 else f"{random.choice(TEXTS)} {random.getrandbits(40):x}"
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


def integer(random: Random) -> str:
    choice = random.random()
    if choice < 0.1:
        return random.choice(BEYOND)
    return random.choice(INTEGERS) if choice < 0.5 else str(random.randrange(-(2**63), 2**63) >> random.randrange(64))


def number(random: Random) -> str:
    choice = random.random()
    if choice < 0.1:
        return random.choice(INEXACT)
    return random.choice(NUMBERS) if choice < 0.5 else repr(random.uniform(-1, 1) * 10 ** random.randrange(-20, 20))


def decimal(scale: int, whole_digits: int) -> Callable[[Random], str]:
    """Multiples of 10^-scale with up to so many digits before the point; the longest do not fit 38 digits."""

    def value(random: Random) -> str:
        digits = random.choice([1, 3, min(9, whole_digits), whole_digits])
        whole, sign = random.randrange(10**digits), random.choice(["", "-"])
        fraction = f"{random.randrange(10**scale):0{scale}}"
        shown = random.choice([fraction, fraction.rstrip("0")])
        point = f".{shown}" if shown else ""
        return random.choice([f"{sign}{whole}{point}", f"{sign}{int(f'{whole}{fraction}')}e-{scale}"])

    return value


def time(random: Random) -> str:
    choice = random.random()
    if choice < 0.1:
        return json.dumps(random.choice(LEAP_SECONDS))
    if choice < 0.5:
        return json.dumps(random.choice(TIMES))
    fraction = "." + str(random.randrange(1, 10**9)) if random.random() < 0.7 else ""
    offset = random.choice(["Z", "+00:00", "-03:30", "+05:45", "+14:00", "-12:00"])
    return f'"{day(random)}T{random.randrange(24):02}:{random.randrange(60):02}:{random.randrange(60):02}{fraction}{offset}"'


def day(random: Random) -> str:
    return (date(1800, 1, 1) + timedelta(days=random.randrange(200_000))).isoformat()


def anything(random: Random, depth: int = 2) -> str:
    """Any JSON, with numbers that no column has and names that no pointer likes."""
    makers = [text, integer, number, lambda _: random.choice(["true", "false", "null", "1e999", "[]", "{}"])]
    if depth and random.random() < 0.5:
        items = [anything(random, depth - 1) for _ in range(random.randrange(4))]
        if random.random() < 0.5:
            return f"[{', '.join(items)}]"
        names = [f"{name}{random.choice(['', '/~'])}" for name in "aÉé"]
        return joined(random, list(zip(names, items)))
    return random.choice(makers)(random)


def joined(random: Random, members: list[tuple[str, str]]) -> str:
    """An object with these members in some order and spacing."""
    random.shuffle(members)
    space = random.choice(["", "", " ", "\n  "])
    return "{" + ("," + space).join(f"{json.dumps(name)}:{space}{value}" for name, value in members) + "}"


def one_of(*values: str) -> Callable[[Random], str]:
    return lambda random: random.choice(values)


def either(*makers: Callable[[Random], str]) -> Callable[[Random], str]:
    return lambda random: random.choice(makers)(random)


def of(kind: str, **more: object) -> dict:
    return {"type": kind} | more


BOUNDS = {"minimum": -1000, "maximum": 999_999.99}
BOOLEAN = Kind(of("boolean"), "boolean", one_of("true", "false"))
INTEGER = Kind(of("integer"), "integer", integer)
NUMBER = Kind(of("number"), "number", either(number, number, integer))
CENTS = Kind(of("number", multipleOf=0.01), "decimal(38,2)", decimal(2, 37))
MILLS = Kind(of("number", multipleOf=0.0005), "decimal(38,4)", one_of("0.0005", "-12.1", "987654321.25", "3.9995", "7"))
SMALL_CENTS = Kind(of("number", multipleOf=0.01, **BOUNDS), "decimal(18,2)", decimal(2, 2))
TEXT = Kind(of("string"), "text", text)
TIME = Kind(of("string", format="date-time"), "timestamp", time)
DATE = Kind(of("string", format="date"), "date", lambda random: f'"{random.choice([*DATES, day(random)])}"')
ANY = Kind({}, "json", anything)
UNION = Kind(of(["string", "integer"]), "json", either(text, integer))

SCALARS = [
    *[BOOLEAN, INTEGER, INTEGER, NUMBER, NUMBER, CENTS, CENTS, SMALL_CENTS, MILLS, TEXT, TEXT, TIME, TIME, DATE, DATE],
    Kind(of("number", multipleOf=5), "integer", lambda random: str(5 * random.randrange(-(10**12), 10**12))),
    Kind(of("number", multipleOf=1e-20), "number", one_of("0.5", "1e-20", "0.25")),
    Kind(of("string", format="uuid"), "text", lambda random: f'"{uuid.UUID(int=random.getrandbits(128))}"'),
    Kind({"enum": ["red", "", "é"]}, "text", one_of('"red"', '""', '"\\u00e9"')),
    Kind({"enum": [1, 2, 30]}, "integer", one_of("1", "2", "30", "3e1", "2.0")),
    Kind({"enum": [1, 2.5]}, "number", one_of("1", "2.5", "25e-1")),
    Kind({"const": True}, "boolean", one_of("true")),
    Kind({"const": "fixed"}, "text", one_of('"fixed"', '"\\u0066ixed"')),
    Kind({"const": 7}, "integer", one_of("7", "7.0")),
    Kind({"$ref": "#/$defs/amount"}, "integer", one_of("0", "1450", "999999999999")),
    Kind({"allOf": [of("number"), of("number", multipleOf=0.1)]}, "decimal(38,1)", one_of("0.1", "-12.5", "3")),
    Kind({"anyOf": [of("integer"), of("number")]}, "number", number),
    Kind({"anyOf": [of("string", format="date"), of("string", format="date-time")]}, "text", either(DATE.value, time)),
]
JSONS = [
    *[ANY, UNION],
    Kind(True, "json", anything),
    Kind(of("object"), "json", lambda random: joined(random, [("a", anything(random)), ("", anything(random))])),
    Kind(of("object", additionalProperties=of("integer")), "json", lambda random: joined(random, [("x", integer(random))])),
    Kind(of("array"), "json", lambda random: f"[{anything(random)} , {anything(random)}]"),
    Kind(of("array", prefixItems=[of("string")], items=of("integer")), "json", lambda random: f"[{text(random)},{integer(random)}]"),
    Kind({"anyOf": [of("string"), of("array", items=of("integer"))]}, "json", either(text, lambda random: f"[{integer(random)}]")),
    Kind({"oneOf": [of("boolean"), of("object", properties={"a": {}})]}, "json", either(BOOLEAN.value, one_of('{"a":1}', "{}"))),
    Kind({"enum": ["a", 1, {"b": None}, [2]]}, "json", one_of('"a"', "1", '{"b":null}', "[2]")),
    Kind({"const": {"b": 1}}, "json", one_of('{"b": 1}')),
]


def nullable(random: Random, kind: Kind) -> Kind:
    """The same, or null."""
    if kind.schema in ({}, True):
        return kind
    plain = isinstance(kind.schema, dict) and isinstance(kind.schema.get("type"), str)
    form = random.choice(["type", "anyOf", "oneOf"] if plain else ["anyOf"])
    schema = kind.schema | {"type": [kind.schema["type"], "null"]} if form == "type" else {form: [{"type": "null"}, kind.schema]}
    return Kind(schema, kind.column, lambda random: "null" if random.random() < 0.2 else kind.value(random))


def list_of(kind: Kind) -> Kind:
    def value(random: Random) -> str:
        return f"[{','.join(kind.value(random) for _ in range(random.randrange(4)))}]"

    return Kind(of("array", items=kind.schema), "json" if kind.schema in ({}, True) else {"list": kind.column}, value)


def struct_of(members: dict[str, Kind], required: list[str] = [], closed: bool = False, typed: bool = True) -> Kind:
    """An object. If it is not `typed`, its schema has no `type`, so that a value may be something else."""
    schema = {"properties": {name: kind.schema for name, kind in members.items()}, "required": required}
    schema |= {"type": "object"} if typed else {}
    schema |= {"additionalProperties": False} if closed else {}

    def value(random: Random) -> str:
        if not typed and random.random() < 0.3:
            return random.choice(['"no object"', "[1]", "5"])
        made = [(name, kind.value(random)) for name, kind in members.items() if name in required or random.random() < 0.8]
        if not closed and random.random() < 0.4:
            made.append(("more / ~ é", anything(random)))
        return joined(random, made)

    return Kind(schema, {"struct": {name: kind.column for name, kind in members.items()}}, value)


def nested(levels: int, kind: Kind) -> Kind:
    for _ in range(levels):
        kind = struct_of({"in": kind}, ["in"])
    return kind


def some(random: Random, names: list[str], depth: int = 2) -> Kind:
    """A kind, nested at most so deep. Members of objects have these names."""
    choice = random.random()
    if depth and choice < 0.2:
        members = {name: some(random, names, depth - 1) for name in random.sample(names, random.randrange(1, 5))}
        required = [name for name in members if random.random() < 0.3]
        made = struct_of(members, required, closed=random.random() < 0.4, typed=random.random() < 0.8)
    elif depth and choice < 0.4:
        made = list_of(some(random, names, depth - 1))
    else:
        made = random.choice(JSONS if choice < 0.5 else SCALARS)
    return nullable(random, made) if random.random() < 0.25 else made
