"""Events to send: the examples that the schemas ship, under identities of their own; and others that are hard to keep."""

import json
import random
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


def spelled(event: dict, rng: random.Random) -> bytes:
    """The event in one of the many spellings that JSON allows."""
    kind = rng.randrange(5)
    if kind == 0:
        return json.dumps(event, indent=rng.choice([1, "\t"]), ensure_ascii=False).replace("\n", "\r\n").encode()
    if kind == 1:
        return json.dumps(event, ensure_ascii=True).replace("/", "\\/").encode()
    if kind == 2:
        return b"{  " + text(event).encode()[1:-1] + b" \t }"
    return text(event).encode()


def awkward(rng: random.Random) -> bytes:
    """An event of a type that no schema has, with values that a parser likes to change."""
    name = f"wild{rng.randrange(40)}" + rng.choice(["", ":seen", ":a_b:done"])
    values = [
        "1.10", "-0", "-0.0", "1E+2", "1e400", "123456789012345678901234567890", "0.1000000000000000055511151231257827",
        r'"\u00e9\/\"\\\b\f\n\r\t"', r'"\ud83c\udf6e and 🍮"', '"\u2028 \u2029 \u007f \ufeff"', '"日本語 עברית"', '""',
        '[ [ ] , {"":{"a":null}} ]', r'"{\"event_uuid\":\"no\"}\n{\"second\":1}"', '"' + "x" * 3000 + '"', "true",
    ]
    members = [f'"event_uuid":"{rng.choice([str.upper, str.lower])(new_uuid())}"', f'"event_name": "{name}"']
    members.append(f'"created_at":{rng.choice(["1795029671", "1795029671.123456789", "1795029671123", "1795029671.10"])}')
    for number in range(rng.randrange(8)):
        members.append(f'"{rng.choice(["n", "é", "payload", "created_date", "data"])}{number or ""}":{rng.choice(values)}')
    if rng.random() < 0.1:
        members.append('"source" : {"spoofed": [1.0]}')
    rng.shuffle(members)
    return ("{" + ",".join(members) + "}").encode()


def many_events(count: int, seed: int) -> dict[str, bytes]:
    """Events by their identity, as they are posted."""
    rng, good = random.Random(seed), good_events()
    events = {}
    for _ in range(count):
        payload = awkward(rng) if rng.random() < 0.4 else spelled(rng.choice(good) | {"event_uuid": new_uuid()}, rng)
        events[json.loads(payload)["event_uuid"].lower()] = payload
    return events


def post_all(gateway, payloads: list[bytes], rng: random.Random):
    """In arrays, one per line, in a wrapper, and alone."""
    payloads = list(payloads)
    while payloads:
        form = rng.randrange(4)
        count = 1 if form == 0 else rng.randrange(50, 250)
        some, payloads = payloads[:count], payloads[count:]
        if form == 1:
            # Lines hold no line breaks.
            lines = [one for one in some if b"\n" not in one]
            payloads += [one for one in some if b"\n" in one]
            some = lines
        if not some:
            continue
        if form == 0:
            answer = gateway.post(some[0])
        elif form == 1:
            answer = gateway.post(b"\n".join(some), content_type="application/x-ndjson")
        elif form == 2:
            answer = gateway.post(b'{"events":[' + b",".join(some) + b"]}")
        else:
            answer = gateway.post(b"[" + b" , ".join(some) + b"]")
        assert answer.status == 202, answer.body[:2000]
        assert answer.counts == (len(some), 0, 0, 0), answer.body
