"""contract.py refuses what openapi.yaml leaves open for the sake of generators: each rule, by an answer that breaks it alone."""

import copy
import json

import pytest
from contract import Contract
from gateway import Answer

ID = "01a1f01b-2a10-7d3e-8f02-4b7c9a5d6e11"
UUID = "01a1f059-0e41-719a-b0ae-3071d38cf734"
DUPLICATE = {"index": 0, "event_uuid": UUID, "status": "duplicate"}
UNKNOWN = {"code": "unknown_event", "detail": "no schema has this name", "pointer": "/event_name"}
VIOLATION = {
    "code": "schema_violation", "detail": "the required field \"item_id\" is missing", "pointer": "", "schema": "menu:item:viewed/2",
    "schema_url": "/v1/schemas/menu:item:viewed/2",
    "errors": [{"detail": "the required field \"item_id\" is missing", "pointer": ""}, {"detail": "too long", "pointer": "/currency"}],
}
REJECTED = {"index": 1, "event_uuid": UUID, "status": "rejected", "error": VIOLATION}
LAKE = {
    "name": "lake", "reachable": True, "lag_events": 0, "lag_bytes": 0, "lag_seconds": 0, "kept_bytes": 0,
    "quota_bytes": 10737418240,
}
RETRY = {"index": 2, "event_uuid": UUID, "status": "retry", "error": {"code": "quota_full", "detail": "the spool is full"}}


def counted(accepted, *results, **more) -> dict:
    counts = {name: sum(result["status"] == status for result in results)
              for name, status in (("duplicates", "duplicate"), ("rejected", "rejected"), ("retry", "retry"))}
    return {"accepted": accepted, **counts, "results": [copy.deepcopy(result) for result in results]} | more


def problem(status: int, code: str, **more) -> dict:
    return {"type": f"/errors#{code}", "title": "It is wrong", "status": status, "detail": "so it is", "code": code, "request_id": ID} | more


# Answers as the gateway gives them: (method and path, status, body, what is special about the request).
GOOD = {
    "accepted": ("POST /v1/events", 202, counted(2), {}),
    "duplicate": ("POST /v1/events", 202, counted(1, DUPLICATE), {}),
    "opted out": ("POST /v1/events", 202, counted(0, opted_out=3), {}),
    "mixed": ("POST /v1/events", 207, counted(1, DUPLICATE, REJECTED, RETRY), {}),
    "truncated": ("POST /v1/events", 207, counted(1, RETRY, rejected=9, results_truncated=True), {}),
    "whole": ("POST /v1/events", 200, counted(1, DUPLICATE, REJECTED), {"may_be_whole": True}),
    "whole rejected": ("POST /v1/events", 200, counted(0, REJECTED), {"may_be_whole": True}),
    "whole retry": (
        "POST /v1/events", 503, problem(503, "storage_unavailable", **counted(1, DUPLICATE, REJECTED, RETRY)), {"may_be_whole": True}
    ),
    "minimal": ("POST /v1/events", 207, counted(1, RETRY, duplicates=1, rejected=1), {"may_be_minimal": True}),
    "all rejected": ("POST /v1/events", 422, problem(422, "all_rejected", **counted(0, REJECTED)), {}),
    "all retry": ("POST /v1/events", 503, problem(503, "storage_unavailable", **counted(0, RETRY)), {}),
    "busy": ("POST /v1/events", 503, problem(503, "busy"), {}),
    "unreadable": ("POST /v1/events", 400, problem(400, "unreadable_json"), {}),
    "too fast": ("POST /v1/events", 429, problem(429, "rate_limited", **{"violated-policies": ["events"]}), {}),
    "share": ("POST /v1/events", 429, problem(429, "body_share_used_up", share="key"), {}),
    "not patched": ("POST /admin/dead-letters/replay", 422, problem(422, "patch_not_applicable"), {}),
    "health": ("GET /healthz", 200, {"status": "ok"}, {}),
    "ready": ("GET /readyz", 200, {
        "ready": True, "reasons": [],
        "spool": {"events": 0, "bytes": 0, "quota_bytes": 10737418240, "headroom_seconds": None, "oldest_seconds": 0},
        "sink": LAKE,
        "sinks": [LAKE],
    }, {}),
}

# What breaks one of them: the answer, the place in its body, and the value there (ABSENT takes it away).
ABSENT = object()
BAD = [
    # A status is its counts.
    ("accepted", "/rejected", 1), ("accepted", "/retry", 1), ("accepted", "/accepted", 0), ("duplicate", "/results/0", REJECTED),
    ("mixed", "/accepted", 10_001), ("opted out", "/accepted", 1), ("opted out", "/opted_out", 0), ("mixed", "/opted_out", 1),
    ("whole", "/retry", 1), ("whole", "/opted_out", 1), ("all rejected", "/rejected", 0), ("all rejected", "/accepted", 1),
    ("all rejected", "/retry", 1), ("all rejected", "/duplicates", 1), ("all retry", "/retry", 0), ("all retry", "/accepted", 1),
    ("all retry", "/rejected", 1), ("all retry", "/duplicates", 1),
    # The counts are those of `results`.
    ("mixed", "/rejected", 2), ("mixed", "/duplicates", 2), ("mixed", "/retry", 2), ("mixed", "/rejected", 0), ("truncated", "/retry", 2),
    ("minimal", "/retry", 2), ("whole", "/rejected", 2), ("mixed", "/results", []), ("whole retry", "/results", [DUPLICATE]),
    ("duplicate", "/results/0/index", -1), ("mixed", "/results/2/index", 1), ("mixed", "/results/2/index", 0),
    # What is there is all there: no count without the others.
    *[("mixed", f"/{name}", ABSENT) for name in ("accepted", "duplicates", "rejected", "retry", "results")],
    *[("all rejected", f"/{name}", ABSENT) for name in ("accepted", "duplicates", "rejected", "retry", "results")],
    *[("all retry", f"/{name}", ABSENT) for name in ("accepted", "duplicates", "rejected", "retry", "results")],
    ("truncated", "/results_truncated", False), ("busy", "/results_truncated", True), ("opted out", "/results_truncated", True),
    # A result is of its status.
    ("mixed", "/results/0/error", UNKNOWN), ("mixed", "/results/1/error", ABSENT), ("mixed", "/results/2/error", ABSENT),
    ("mixed", "/results/0/event_uuid", ABSENT), ("mixed", "/results/0/status", "lost"), ("mixed", "/results/0/index", ABSENT),
    ("mixed", "/results/1/error/code", "quota_full"), ("mixed", "/results/2/error/code", "unknown_event"),
    ("mixed", "/results/1/error/code", "unheard_of"), ("mixed", "/results/1/error/schema", ABSENT),
    ("mixed", "/results/1/error/schema_url", ABSENT), ("mixed", "/results/1/error/pointer", ABSENT),
    ("mixed", "/results/1/error/code", "missing_field"), ("mixed", "/results/2/error/pointer", "/x"),
    ("mixed", "/results/2/error/schema", "a/1"), ("mixed", "/results/1/error/errors", VIOLATION["errors"][:1]),
    ("mixed", "/results/1/error/pointer", "x"), ("mixed", "/results/1/error/detail", ""), ("mixed", "/results/1/error/detail", "x" * 301),
    # Nothing that is not described.
    *[(name, "/surprise", 1) for name in GOOD],
    ("mixed", "/results/0/surprise", 1), ("mixed", "/results/1/error/surprise", 1), ("mixed", "/results/1/error/errors/0/surprise", 1),
    ("ready", "/spool/surprise", 1), ("ready", "/sink/surprise", 1),
    # A problem is that of its status, and has no member of another.
    ("unreadable", "/accepted", 0), ("unreadable", "/results", []), ("unreadable", "/share", "key"), ("busy", "/share", "key"),
    ("all rejected", "/violated-policies", ["events"]), ("too fast", "/accepted", 0), ("too fast", "/violated-policies", ["words"]),
    ("too fast", "/violated-policies", []), ("share", "/share", "nobody"), ("not patched", "/rejected", 1),
    *[(name, "/status", 418) for name in GOOD if GOOD[name][1] >= 400],
    *[(name, "/code", "missing_key") for name in GOOD if GOOD[name][1] >= 400],
    *[(name, f"/{member}", ABSENT) for name in GOOD if GOOD[name][1] >= 400
      for member in ("type", "title", "status", "detail", "code", "request_id")],
    ("busy", "/type", "/errors#stopping"), ("busy", "/type", "about:blank"), ("busy", "/request_id", "another"),
    # Health.
    ("health", "/status", "fine"), ("ready", "/ready", False), ("ready", "/reasons", ABSENT),
]
# The same bodies with a status, a request or headers that they do not go with.
ELSEWHERE = [
    ("whole", {"may_be_whole": False}), ("whole retry", {"may_be_whole": False}), ("minimal", {"may_be_minimal": False}),
    ("mixed", {"status": 202}), ("mixed", {"status": 200, "may_be_whole": True}), ("accepted", {"status": 207}), ("accepted", {"status": 201}),
    ("all rejected", {"status": 503}), ("all retry", {"status": 422}), ("busy", {"status": 400}), ("not patched", {"path": "/v1/events"}),
    ("all rejected", {"path": "/admin/dead-letters/replay"}), ("ready", {"status": 503}), ("mixed", {"retry-after": None}),
    ("all retry", {"retry-after": None}), ("accepted", {"x-request-id": None}), ("busy", {"x-request-id": "another"}),
    ("busy", {"content-type": "application/json"}), ("mixed", {"retry-after": "0"}), ("accepted", {"preference-applied": "durability=paper"}),
]


@pytest.fixture(scope="module")
def contract():
    """One of its own: the answers here are made up, and the codes that they have count for nothing."""
    return Contract()


def answer(name: str, body=None, **changes) -> Answer:
    where, status, good, special = GOOD[name]
    method, path = where.split()
    headers = {"x-request-id": ID, "content-type": "application/problem+json" if status >= 400 else "application/json"}
    body = good if body is None else body
    if status in (207, 429, 503) and (body.get("retry", 1) or status == 429):
        headers["retry-after"] = "2"
    fields = {"method": method, "path": path, "status": status, "body": json.dumps(body).encode(), "http_version": "HTTP/2"} | special
    for change, value in changes.items():
        if change in fields or change.startswith("may_be"):
            fields[change] = value
        else:
            headers[change] = value
    return Answer(headers={header: value for header, value in headers.items() if value is not None}, **fields)


def changed(body: dict, pointer: str, value) -> dict:
    body = copy.deepcopy(body)
    *way, last = pointer.split("/")[1:]
    place = body
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    last = int(last) if isinstance(place, list) else last
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_as_it_should_be_is_let_pass(contract, name):
    contract.check(answer(name), admin=True)


@pytest.mark.parametrize("name, pointer, value", BAD, ids=lambda value: "absent" if value is ABSENT else str(value)[:40])
def test_an_answer_with_one_fault_is_refused(contract, name, pointer, value):
    with pytest.raises(AssertionError):
        contract.check(answer(name, changed(GOOD[name][2], pointer, value)), admin=True)


@pytest.mark.parametrize("name, changes", ELSEWHERE, ids=str)
def test_an_answer_in_the_wrong_place_is_refused(contract, name, changes):
    with pytest.raises(AssertionError):
        contract.check(answer(name, **changes), admin=True)


def shown(contract: Contract, place: list[str]):
    """Every example below `place`, with the place of the schema beside it."""
    found, place = contract.resolve(place)
    if not isinstance(found, dict):
        return
    if "schema" in found:
        for name in found.get("examples", {}):
            example, _ = contract.resolve([*place, "examples", name])
            yield [*place, "schema"], example["value"]
        if "example" in found:
            yield [*place, "schema"], found["example"]
        return
    for name in found:
        yield from shown(contract, [*place, name])


def test_every_example_is_as_strict_as_what_it_shows(contract):
    examples = [found for path in contract.document["paths"] for found in shown(contract, ["paths", path])]
    assert len(examples) >= len(contract.document["components"]["examples"])
    for place, value in examples:
        assert not contract.errors(place, value), value
    # All of those that have a name are shown somewhere.
    values = [value for _, value in examples]
    assert all(example["value"] in values for example in contract.document["components"]["examples"].values())


def test_generators_see_no_closed_answer_and_no_choice(contract):
    """What broke generated clients once: see "Generated clients" in openapi.yaml."""
    document = contract.plain
    assert not any("servers" in item for item in document["paths"].values()), "would override a configured host"
    requests = {"ReplayRequest", "DropRequest", "ErasureRequest", "ErasureClause"}
    todo = [(name, schema) for name, schema in document["components"]["schemas"].items()]
    while todo:
        place, schema = todo.pop()
        if "$ref" in schema:
            continue
        assert not {"allOf", "anyOf", "oneOf", "not", "if", "const", "enum", "unevaluatedProperties"} & schema.keys(), place
        # Both a number and text: no generator has a usable type for the two.
        assert "type" in schema or place == "Event.created_at", f"{place} has no type"
        assert schema.get("type") != "array" or "items" in schema, place
        if "properties" in schema and place not in requests:
            assert schema["additionalProperties"] is True, f"{place}: a new member would break clients"
        if schema.get("type") in ("integer", ["integer", "null"]) and "maximum" not in schema:
            assert schema.get("format") == "int64" or place.split(".")[-1] in SMALL, f"{place} may not fit into 32 bits"
        if schema.get("type") in ("number", ["number", "null"]):
            assert schema.get("format") == "double", f"{place} would be a float"
        for name, inner in schema.get("properties", {}).items():
            todo.append((f"{place}.{name}", inner))
        if "items" in schema:
            todo.append((f"{place}[]", schema["items"]))


# Versions, at most 2147483647.
SMALL = {"schema_version", "latest", "versions[]"}
