"""openapi.yaml is true: every code that can be provoked from outside is, and each answer is what the document says.

(The answers of all other tests are held against it too: see `contract` in conftest.py.)
"""

import base64
import gzip
import json
import os
import re
import secrets
import signal
import socket
import ssl
import threading

import pytest
from events import event, examples, new_uuid, text
from gateway import ROOT, wait_until
from jsonschema import Draft202012Validator, FormatChecker

# The dead letters of a key, at their smallest; and a spool at its smallest.
DEAD_LETTER_BYTES_MIN = 16 * 1024 * 1024
SPOOL = "[spool]\nsegment_bytes = 4194304\nquota_bytes = 8388608\n"
# The sink takes nothing before an hour has passed: what is accepted stays in the spool.
NO_DELIVERY = "[lake]\nflush_age_ms = 3600000\n"

# Faults of the gateway itself, and moments too short to be met from outside; the tests of the source meet them.
NOT_PROVOKED = {
    (500, "internal_error"), ("rejected", "internal_error"),
    (503, "busy"), ("retry", "in_flight"), ("retry", "busy"), ("retry", "storage_unavailable"), ("retry", "dedup_full"),
    ("retry", "dedup_unavailable"),
    # tests/it/delivered.rs, with a stream that goes away.
    ("retry", "sink_unavailable"),
    # tests/it/attacks/shares.rs; src/key_shares.rs, since the smallest window has a million identities.
    ("retry", "key_spool_share_full"), ("retry", "key_dedup_share_full"),
    # tests/it/faults/delivery.rs, with the disk and the stream that it takes.
    ("rejected", "refused_by_sink"), ("retry", "lost"),
}


def problem(answer, status: int, code: str):
    assert (answer.status, answer.code) == (status, code), answer
    return answer


class RawConnection:
    """A connection that sends what it is told and no more, for requests that no proper client makes."""

    def __init__(self, gateway):
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        if not gateway.plaintext:
            context = ssl.create_default_context(cafile=str(gateway.certificate))
            context.set_alpn_protocols(["http/1.1"])
            connection = context.wrap_socket(connection, server_hostname="localhost")
        self.connection = connection

    def begin(self, body: bytes, length: int):
        head = f"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: dev\r\nContent-Length: {length}\r\n\r\n"
        self.connection.sendall(head.encode() + body)

    def answer(self) -> tuple[int, dict]:
        received = b""
        while True:
            head, end, body = received.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if end and len(body) >= int(lengths[0].split(b":")[1]):
                return int(head.split()[1]), json.loads(body)
            more = self.connection.recv(65536)
            assert more, f"the connection ended after {received!r}"
            received += more

    def close(self):
        self.connection.close()


@pytest.fixture(scope="module", autouse=True)
def slow_body(gateway, contract):
    """A client that begins a body and never ends it: it takes 20 s, so it begins with the module."""
    connection, found = RawConnection(gateway), {}
    connection.begin(b"[", 100)
    thread = threading.Thread(target=lambda: found.update(answer=connection.answer()), daemon=True)
    thread.start()
    yield thread, found
    connection.close()


# ---- requests that are refused as a whole


@pytest.mark.parametrize("body, content_type, code", [
    ("{", "application/json", "unreadable_json"),
    ('{"a":1}{"b":2}', "application/json", "unreadable_json"),
    ("7", "application/json", "unreadable_json"),
    ("[1,]", "text/plain", "unreadable_json"),
    ("NaN", "application/json", "unreadable_json"),
    ("[" * 100_000, "application/json", "too_deep"),
    (b'[{"a":"\xff"}]', "application/json", "invalid_utf8"),
    ("", "application/json", "no_events"),
    ("[]", "application/json", "no_events"),
    ('{"events":[]}', "text/plain", "no_events"),
    ('{"events":[{}],"events":[{}]}', "application/json", "ambiguous_batch"),
    ("\n \n", "application/x-ndjson", "no_events"),
])
def test_a_body_that_cannot_be_read(gateway, body, content_type, code):
    problem(gateway.post(body, content_type), 400, code)


def test_an_unknown_preference(gateway):
    problem(gateway.post(text(event()), Prefer="durability=paper"), 400, "invalid_preference")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_body_that_does_not_inflate(gateway, coding):
    problem(gateway.post(b"\x1f\x8b\x08 this is nothing that inflates", Content_Encoding=coding), 400, "bad_encoding")


def test_a_request_without_a_key_is_told_how_to_bring_one(gateway):
    for key, code in [(None, "missing_key"), ("nobody's", "unknown_key")]:
        answer = problem(gateway.post(text(event()), X_Api_Key=key), 401, code)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_key_that_is_switched_off(gateways):
    sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"
    gateway = gateways(config=f'[[keys]]\nname = "web"\nsecret_sha256 = "{sha256}"\nenabled = false')
    problem(gateway.post(text(event()), X_Api_Key="s3cret"), 403, "key_disabled")


def test_a_secret_that_has_expired(gateways):
    sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"
    gateway = gateways(config=f'[[keys]]\nname = "web"\nsecrets = [{{ sha256 = "{sha256}", not_after = "2026-01-01T00:00:00Z" }}]')
    problem(gateway.post(text(event()), X_Api_Key="s3cret"), 401, "key_expired")
    # The user of Basic, and a password that nobody reads.
    basic = "Basic " + base64.b64encode(b"s3cret:password").decode()
    problem(gateway.post(text(event()), X_Api_Key=None, Authorization=basic), 401, "key_expired")


def test_a_key_for_web_pages_is_good_for_its_pages_and_its_events(gateways):
    sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"
    page = 'kind = "browser"\nallowed_origins = ["https://menu.example"]\nallowed_events = ["menu:*"]'
    gateway = gateways(config=f'[[keys]]\nname = "web"\nsecret_sha256 = "{sha256}"\n{page}\n[privacy]\nrespect_gpc = true')
    at = {"X_Api_Key": "s3cret", "Origin": "https://menu.example"}
    answer = gateway.post(text(event()), **at)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (202, "https://menu.example")
    problem(gateway.post(text(event()), **at | {"Origin": "https://evil.example"}), 403, "origin_not_allowed")
    for origin, status in [("https://menu.example", 204), ("https://evil.example", 403), (None, 204)]:
        assert gateway.curl("OPTIONS", "/v1/events", headers={"Origin": origin, "X-Api-Key": None}).status == status
    answer = gateway.post(text(event(event_name="kitchen:closed")), **at)
    assert (answer.status, answer.json()["results"][0]["error"]["code"]) == (422, "forbidden_event")
    assert gateway.post(text(event()), **at, Sec_GPC="1").json()["opted_out"] == 1
    fields = "&".join(f"{name}={value}" if isinstance(value, str) else f"{name}:={value}" for name, value in event().items())
    no_header = {"X-Api-Key": None}
    for query, status in [(fields, 200), ("", 400), ("e=" + "A" * 8_192, 414), ("event_name=kitchen:closed", 422)]:
        assert gateway.curl("GET", f"/v1/pixel.gif?key=s3cret&{query}", headers=no_header).status == status
    assert gateway.curl("GET", "/v1/pixel.gif?key=other", headers=no_header).status == 401
    dropped = gateway.curl("GET", f"/v1/pixel.gif?key=s3cret&{fields}", headers=no_header | {"DNT": "1"})
    assert (dropped.status, dropped.headers["lakegate-code"]) == (200, "opted_out")


def test_a_key_that_wants_a_client_certificate(gateways, gateway):
    sha256 = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0"
    keys = f'[[keys]]\nname = "web"\nsecret_sha256 = "{sha256}"\nclient_certificate = true'
    strict = gateways(config=f'{keys}\n[tls]\nclient_ca = "{gateway.certificate}"\nhsts_seconds = 60')
    answer = problem(strict.post(text(event()), X_Api_Key="s3cret"), 403, "certificate_required")
    assert answer.headers["strict-transport-security"] == "max-age=60"


def test_a_body_that_takes_too_long(slow_body, contract):
    thread, found = slow_body
    thread.join(40)
    status, body = found["answer"]
    assert (status, body["code"]) == (408, "request_timeout")
    assert not contract.errors(["components", "schemas", "RequestTimeoutProblem"], body)
    contract.met.add((status, body["code"]))


def test_too_much(gateway):
    problem(gateway.post(" " * (4 * 1024 * 1024 + 1)), 413, "body_too_large")
    problem(gateway.post(" " * (12 * 1024 * 1024)), 413, "body_too_large")
    large = b"".join(os.urandom(512) + b" " * 15_872 for _ in range(1_025))
    problem(gateway.post(gzip.compress(large), Content_Encoding="gzip"), 413, "body_too_large")
    padded = gzip.compress(text(event()).encode() + b" " * (1024 * 1024))
    problem(gateway.post(padded, Content_Encoding="gzip"), 413, "compression_ratio_too_high")
    problem(gateway.post("{}\n" * 10_001, "application/x-ndjson"), 413, "too_many_events")


def test_a_content_type_or_encoding_that_is_not_read_is_told_what_is(gateway):
    answer = problem(gateway.post("<event/>", "text/xml"), 415, "unsupported_media_type")
    assert answer.headers["accept"] == "application/json, application/*+json, application/x-ndjson, text/plain"
    answer = problem(gateway.post("{}", Content_Encoding="gzip, br"), 415, "unsupported_encoding")
    assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"


def test_a_key_that_sends_too_fast_is_told_when_to_come_back(gateways):
    gateway = gateways(config="[rate_limit]\nevents_per_second = 1\nevents_burst = 10000")
    lines = "\n".join(text(event()) for _ in range(9_999))
    assert gateway.post(gzip.compress(lines.encode()), "application/x-ndjson").counts == (9_999, 0, 0, 0)
    answer = problem(gateway.post(f"[{','.join(text(event()) for _ in range(20))}]"), 429, "rate_limited")
    # 19 s for what is missing, and up to a quarter more at random.
    assert 15 <= int(answer.headers["retry-after"]) <= 25
    assert gateway.metrics()["lakegate_events_received_total"] == 9_999, "nothing of it was taken"


# ---- events that are rejected


REJECTED = [
    ("[7]", "not_an_object", ""),
    ('{"a":\n', "invalid_json", None),
    ("{}", "missing_field", ""),
    (text(event(event_uuid="0")), "invalid_event_uuid", "/event_uuid"),
    (text(event(event_name="menu item")), "invalid_event_name", "/event_name"),
    (text(event(created_at="2026-11-20")), "invalid_created_at", "/created_at"),
    (text(event(schema_version=1.5)), "invalid_schema_version", "/schema_version"),
    (text(event()).replace("{", '{"menu_id":"x",', 1), "duplicate_key", "/menu_id"),
    (text(event()).replace("{", r'{"page_path":"\ud800",', 1), "invalid_unicode", None),
    (text(event(section_name="x" * 1_040_384)), "event_too_large", None),
    (text(event()).replace("{", '{"tags":' + "[" * 65 + "]" * 65 + ",", 1), "event_too_deep", None),
    (text(event(event_name="menu:section:reachd")), "unknown_event", "/event_name"),
    (text(event(schema_version=9)), "unknown_schema_version", "/schema_version"),
    (text(event(section_index="0")), "schema_violation", "/section_index"),
]


@pytest.mark.parametrize("body, code, pointer", REJECTED, ids=[code for _, code, _ in REJECTED])
def test_a_rejected_event_has_its_code_and_is_in_the_dead_letters(gateway, body, code, pointer):
    content_type = "application/x-ndjson" if code == "invalid_json" else "application/json"
    answer = problem(gateway.post(body, content_type), 422, "all_rejected")
    (result,) = answer.json()["results"]
    assert result["error"]["code"] == code
    if pointer is not None:
        assert result["error"]["pointer"] == pointer
    # What another test has sent already has its letter.
    raw = "7" if body == "[7]" else body.strip()
    assert [letter["code"] for letter in gateway.dead_letters() if letter["raw"] == raw] == [code]


def test_several_faults_of_one_event_are_all_told(gateway):
    answer = problem(gateway.post(text(event(section_index="0", active_ms=-1))), 422, "all_rejected")
    error = answer.json()["results"][0]["error"]
    assert {fault["pointer"] for fault in error["errors"]} == {"/section_index", "/active_ms"}
    assert error["schema"] == "menu:section:reached/1"


def test_a_bad_event_never_costs_its_neighbours(gateway):
    good, bad = event(), event(section_index="0")
    answer = gateway.post(text([good, bad, good, 7]))
    assert (answer.status, answer.counts) == (207, (1, 1, 2, 0))
    statuses = [(result["index"], result["status"]) for result in answer.json()["results"]]
    assert statuses == [(1, "rejected"), (2, "duplicate"), (3, "rejected")]


def test_a_sender_that_reads_only_the_status_gets_whole_answers_and_short_ones(gateway):
    good, bad = event(), event(section_index="0")
    for prefer, batch, status, counts, listed in (
        ("answers=whole", [good, bad], 200, (1, 0, 1, 0), 1),
        ("answers=whole", [bad], 200, (0, 0, 1, 0), 1),
        ("answers=whole, return=minimal", [good, bad], 200, (0, 1, 1, 0), 0),
        ("return=minimal", [good, bad], 207, (0, 1, 1, 0), 0),
        ("return=minimal", [bad], 422, (0, 0, 1, 0), 0),
    ):
        answer = gateway.post(text(batch), Prefer=prefer)
        assert (answer.status, answer.counts, answer.headers["preference-applied"]) == (status, counts, prefer)
        assert len(answer.json()["results"]) == listed
    problem(gateway.post(text(good), Prefer="answers=some"), 400, "invalid_preference")


# ---- what cannot be stored


def test_a_full_spool_says_retry_and_acknowledges_nothing(gateways):
    gateway = gateways(config=SPOOL + NO_DELIVERY + '[schemas]\nunknown_events = "accept"', plaintext=True)
    accepted = 0
    # Ever smaller events and batches, until not even one small event finds room.
    for size, filler in ((20, 100_000), (20, 5_000), (20, 500), (1, 500), (1, 0)):
        for _ in range(40):
            answer = gateway.post(text([event(event_name="of:a:test", filler="x" * filler) for _ in range(size)]))
            accepted += answer.json()["accepted"]
            if answer.status != 202:
                break
        problem(answer, 503, "storage_unavailable")
        assert answer.counts == (0, 0, 0, size) and int(answer.headers["retry-after"]) >= 1
        assert {result["error"]["code"] for result in answer.json()["results"]} == {"quota_full"}
    mixed = gateway.post(text([event(), 7]))
    assert (mixed.status, mixed.counts) == (207, (0, 0, 1, 1)) and int(mixed.headers["retry-after"]) >= 1
    whole = problem(gateway.post(text([event(), 7]), Prefer="answers=whole"), 503, "storage_unavailable")
    assert whole.counts == (0, 0, 1, 1) and 10 <= int(whole.headers["retry-after"]) <= 30
    assert whole.headers["preference-applied"] == "answers=whole"
    ready = wait_until("not ready", 10, lambda: (got := gateway.curl("GET", "/readyz")).status == 503 and got)
    assert ready.json()["reasons"][0]["code"] == "spool_full" and int(ready.headers["retry-after"]) >= 1
    assert gateway.curl("GET", "/healthz").status == 200, "a full disk is no reason to be restarted"
    assert gateway.stop() == 0
    assert len(gateway.lake("event_uuid")) == accepted, "what was acknowledged is there, and nothing else"


def test_full_dead_letters_make_a_bad_event_wait_and_no_good_one(gateways):
    gateway = gateways(config=f"[dead_letters]\nbytes_per_key_max = {DEAD_LETTER_BYTES_MIN}", plaintext=True)
    # What packs well would not fill them.
    for _ in range(8):
        answer = gateway.post(text([event(event_name="no:such", filler=secrets.token_urlsafe(750_000)) for _ in range(4)]))
        if answer.status != 422:
            break
    problem(answer, 503, "storage_unavailable")
    assert {result["error"]["code"] for result in answer.json()["results"]} == {"dead_letters_full"}
    assert gateway.post(text(event())).status == 202


def test_delivered_is_answered_when_the_row_is_in_the_lake(gateway):
    """Without waiting: what the answer acknowledged is there when the answer is."""
    for _ in range(3):
        raw = text(event())
        answer = gateway.post(raw, Prefer="durability=delivered")
        assert raw in [row["payload"] for row in gateway.lake("payload")]
        assert (answer.status, answer.headers["preference-applied"]) == (202, "durability=delivered")
    assert gateway.post(text(event()), Prefer="durability=disk").headers["preference-applied"] == "durability=disk"
    assert "preference-applied" not in gateway.post(text(event())).headers


def test_what_is_not_delivered_in_time_says_so_and_is_recognised_later(gateways):
    gateway = gateways(config="[http]\ndelivered_wait_seconds = 1")
    lake, raw = gateway.data / "lake", text(event())
    # A file where the lake's folder was: nobody can write into it, not even root.
    lake.rename(gateway.data / "aside")
    lake.write_text("")
    answer = problem(gateway.post(raw, Prefer="durability=delivered"), 503, "not_delivered_in_time")
    assert answer.json()["results"][0]["error"]["code"] == "not_delivered_in_time"
    assert gateway.post(raw).counts == (0, 1, 0, 0), "it is safe on disk"
    ready = gateway.curl("GET", "/readyz").json()
    assert ready["ready"] and not ready["sink"]["reachable"] and ready["reasons"][0]["code"] == "sink_unreachable"
    lake.unlink()
    (gateway.data / "aside").rename(lake)
    wait_until("delivered after all", 60, lambda: [row["payload"] for row in gateway.lake()] == [raw])


def test_more_bodies_than_an_address_leaves_to_others_are_told_to_wait(gateways):
    """Clients with 4 MiB each, none of which ends its body, until their address holds half of what the gateway may hold."""
    gateway = gateways(plaintext=True)
    limits = (ROOT / "src/limits/edge.rs").read_text()
    held_mib_max = int(re.search(r"BODIES_IN_FLIGHT_BYTES_MAX: usize = (\d+) \* MIB", limits)[1])
    size = 4 * 1024 * 1024
    clients = [RawConnection(gateway) for _ in range(held_mib_max // 2 // 4)]
    for client in clients:
        client.begin(b" " * (size - 1), size)
    held = "lakegate_bodies_in_flight_bytes"
    wait_until("all held", 15, lambda: gateway.metrics()[held] >= len(clients) * (size - 1))
    problem(gateway.post(text(event())), 429, "body_share_used_up")
    for client in clients:
        client.close()
    wait_until("given back", 15, lambda: gateway.metrics()[held] == 0)
    assert gateway.post(text(event())).status == 202


def test_a_gateway_that_stops_finishes_what_it_began_and_takes_no_more(gateways, contract):
    gateway = gateways(plaintext=True)
    raw = text(event()).encode()
    begun, late = RawConnection(gateway), RawConnection(gateway)
    begun.begin(raw[:10], len(raw))
    late.connection.sendall(b"POST /v1/events HTTP/1.1\r\n")
    wait_until("the body's beginning", 10, lambda: gateway.metrics()["lakegate_bodies_in_flight_bytes"] == 10)
    gateway.process.send_signal(signal.SIGTERM)
    ready = wait_until("not ready", 10, lambda: (got := gateway.curl("GET", "/readyz", admin=True)).status == 503 and got)
    assert ready.json()["reasons"][0]["code"] == "stopping"
    late.connection.sendall(b"Host: x\r\nX-Api-Key: dev\r\nContent-Length: 2\r\n\r\n{}")
    status, body = late.answer()
    assert (status, body["code"]) == (503, "stopping")
    contract.met.add((status, body["code"]))
    begun.connection.sendall(raw[10:])
    status, body = begun.answer()
    assert (status, body["accepted"]) == (202, 1)
    assert gateway.process.wait(30) == 0
    assert [row["payload"].encode() for row in gateway.lake()] == [raw]


# ---- the registry


def test_the_registry_lists_every_schema_and_serves_it_whole(gateway):
    listed = {entry["event_name"]: entry for entry in gateway.curl("GET", "/v1/schemas").json()["schemas"]}
    assert set(listed) == {name for name, *_ in examples()}
    for name, version, good, bad in examples():
        assert version in listed[name]["versions"]
        document = gateway.curl("GET", f"/v1/schemas/{name}/{version}").json()
        if version == listed[name]["latest"]:
            assert gateway.curl("GET", f"/v1/schemas/{name}").json() == document
        # Alone, with a validator of another make, and nothing else at hand: a $ref out of the document would fail.
        Draft202012Validator.check_schema(document)
        validator = Draft202012Validator(document, format_checker=FormatChecker())
        for good_event in good + document["examples"]:
            assert not list(validator.iter_errors(good_event)), (name, version, good_event)
        for case in bad:
            assert list(validator.iter_errors(case["event"])), (name, version, case["why"])


def test_what_a_client_has_already_is_not_sent_again(gateway):
    numbered, newest = "/v1/schemas/menu:item:viewed/2", "/v1/schemas/menu:item:viewed"
    for path in ("/v1/schemas", numbered, newest):
        first = gateway.curl("GET", path)
        assert ("immutable" in first.headers["cache-control"]) == (path == numbered)
        etag = first.headers["etag"]
        for method, named in (("GET", etag), ("HEAD", etag), ("GET", f'"other", W/{etag}'), ("GET", "*")):
            again = gateway.curl(method, path, headers={"If-None-Match": named})
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
        other = gateway.curl("GET", path, headers={"If-None-Match": '"other"'})
        assert (other.status, other.body) == (200, first.body)
    assert gateway.curl("GET", numbered).headers["etag"] == gateway.curl("GET", newest).headers["etag"]


def test_a_rejection_leads_to_the_schema_that_judged(gateway):
    answer = problem(gateway.post(text(event(sektion_name="Reds"))), 422, "all_rejected")
    error = answer.json()["results"][0]["error"]
    assert error["detail"] == 'the field "sektion_name" is not in the schema; did you mean "section_name"?'
    assert "section_name" in gateway.curl("GET", error["schema_url"]).json()["properties"]


@pytest.mark.parametrize("path, code", [
    ("/v1/schemas/menu:item:veiwed", "unknown_event"),
    ("/v1/schemas/menu:item:viewed/3", "unknown_schema_version"),
    ("/v1/schemas/menu:item:viewed/01", "unknown_schema_version"),
    ("/v1/schemas/menu:item:viewed/x", "unknown_schema_version"),
    ("/v1/schemas/%FF", "not_found"),
    ("/v1/schemas/menu:item:viewed/%FF", "not_found"),
    ("/v1/schemas/..%2f..%2fCargo.toml", "unknown_event"),
    ("/v1/schemas/", "not_found"),
    ("/", "not_found"),
    ("/metrics", "not_found"),
])
def test_what_is_not_there(gateway, path, code):
    problem(gateway.curl("GET", path), 404, code)


def test_a_slip_of_the_pen_is_told_the_nearest_name(gateway):
    assert "menu:item:viewed" in gateway.curl("GET", "/v1/schemas/menu:item:veiwed").json()["detail"]


# ---- the rest


def test_health_readiness_and_metrics(gateway):
    for admin in (False, True):
        assert gateway.curl("GET", "/healthz", admin=admin).json() == {"status": "ok"}
        ready = gateway.curl("GET", "/readyz", admin=admin)
        assert (ready.status, ready.json()["ready"], ready.json()["reasons"]) == (200, True, [])
    assert gateway.curl("GET", "/metrics", admin=True).body.endswith(b"# EOF\n")
    for path in ("/healthz", "/readyz", "/v1/schemas", "/v1/schemas/lesson:started", "/v1/schemas/lesson:started/1"):
        head = gateway.curl("HEAD", path)
        assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize("path, allow", [
    ("/v1/events", {"OPTIONS", "POST"}), ("/v1/pixel.gif", {"GET", "HEAD"}), ("/v1/schemas", {"GET", "HEAD"}), ("/healthz", {"GET", "HEAD"}), ("/readyz", {"GET", "HEAD"}),
    ("/v1/schemas/lesson:started", {"GET", "HEAD"}), ("/v1/schemas/lesson:started/1", {"GET", "HEAD"}),
])
def test_another_method_is_told_which_there_are(gateway, path, allow):
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"} - allow:
        answer = problem(gateway.curl(method, path), 405, "method_not_allowed")
        assert {method.strip() for method in answer.headers["allow"].split(",")} == allow


def test_a_request_id_is_kept_where_it_is_fit_for_a_log_and_replaced_otherwise(gateway):
    for mine in ("trace-1", "x" * 64, "!~"):
        assert gateway.post("{", X_Request_Id=mine).headers["x-request-id"] == mine
        assert gateway.curl("GET", "/healthz", headers={"X-Request-Id": mine}).headers["x-request-id"] == mine
    for mine in ("x" * 65, "two words", "ü"):
        assert gateway.post("{", X_Request_Id=mine).headers["x-request-id"] != mine
    assert gateway.post("{").headers["x-request-id"] != gateway.post("{").headers["x-request-id"]


def test_dead_letters_are_for_operators_on_this_machine(gateway):
    def ask(method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in ({"Content_Type": "application/json"} | headers).items()}
        return gateway.curl(method, f"/admin/dead-letters{path}", body=body, headers=headers, admin=True)

    assert gateway.post('{"event_uuid": "no"}').status == 422
    listed = ask("GET", "?where=code=missing_field").json()
    assert listed["letters"] >= 1 and listed["groups"][0]["code"] == "missing_field"
    whole = ask("GET", "/letters?limit=2&where=code=missing_field").json()["letters"]
    assert whole[0]["line"]["code"] == "missing_field" and whole[0]["state"] == "open"
    assert ask("GET", "?where=odd").status == 400
    assert ask("POST", "/replay", b"{").status == 400
    assert ask("POST", "/drop", b"{}").status == 400
    assert ask("POST", "/drop", b"{}", Origin="https://menu.example").status == 403
    assert ask("POST", "/drop", b"{}", Content_Type="text/plain").status == 415
    patch = b'{"where": ["code=missing_field"], "patch": [{"op": "remove", "path": "/x"}]}'
    assert ask("POST", "/replay", patch).status == 422
    tried = ask("POST", "/replay", b'{"where": ["code=missing_field"], "dry_run": true}').json()
    assert tried["rejected"] == tried["letters"] >= 1 and tried["dry_run"]
    assert ask("POST", "/replay", b'{"where": ["code=missing_field"]}').json()["accepted"] == 0
    assert ask("POST", "/drop", b'{"where": ["code=missing_field"]}').json()["removed"]["letters"] >= 1
    assert gateway.curl("GET", "/admin/dead-letters").status == 404, "not on the listener for events"


def test_erasures_are_for_operators_on_this_machine(gateway):
    def ask(body, **headers):
        headers = {name.replace("_", "-"): value for name, value in ({"Content_Type": "application/json"} | headers).items()}
        return gateway.curl("POST", "/admin/erasures", body=body.encode(), headers=headers, admin=True)

    guest = new_uuid()
    assert gateway.post(text(event(session_id=guest))).json()["accepted"] == 1
    assert gateway.post(text(event(session_id=guest, event_uuid="no"))).status == 422
    whose = {"where": [{"field": "session_id", "values": [guest]}]}
    for body in ("{", "{}", '{"where": []}', text(whose | {"gateway": new_uuid()}), text({"where": [{"field": "source", "values": ["dev"]}]})):
        problem(ask(body), 400, "invalid_erasure")
    assert ask(text(whose), Origin="https://menu.example").status == 403
    assert ask(text(whose), Content_Type="text/plain").status == 415
    tried = ask(text(whose | {"dry_run": True}), X_Request_Id="trace-2")
    assert tried.headers["x-request-id"] == "trace-2"
    assert (tried.json()["dry_run"], tried.json()["dead_letters"]["erased"], tried.json()["spools"][0]["erased"]) == (True, 1, 1)
    done = ask(text(whose)).json()
    assert (done["dry_run"], done["dead_letters"]["erased"], done["incomplete"]) == (False, 1, [])
    assert ask(text(whose)).json()["dead_letters"]["erased"] == 0
    assert gateway.curl("POST", "/admin/erasures").status == 404, "not on the listener for events"


def test_live_events_are_for_operators_on_this_machine(gateway):
    def ask(query, **headers):
        return gateway.curl("GET", f"/admin/tail{query}", headers=headers, admin=True)

    for query in ("?event=menu%20item", "?key=", "?outcome=refused", "?rate=0", "?since=1h"):
        problem(ask(query), 400, "invalid_question")
    problem(ask("", Origin="https://menu.example"), 403, "operators_only")
    head = gateway.curl("HEAD", "/admin/tail?outcome=rejected&rate=10", admin=True)
    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
    assert gateway.curl("GET", "/admin/tail").status == 404, "not on the listener for events"


def test_the_questions_of_the_console_are_for_operators_on_this_machine(gateway):
    def ask(path, **headers):
        return gateway.curl("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}, admin=True)

    own = f"http://127.0.0.1:{gateway.admin_port}"
    for path in ("/admin/console", "/admin/overview", "/admin/fleet", "/admin/keys", "/admin/schemas/menu:item:viewed/diff?from=1&to=2"):
        assert ask(path).status == 200, path
        problem(ask(path, Origin="https://menu.example"), 403, "operators_only")
    problem(ask("/admin/schemas/menu:item:viewed/diff?from=1"), 400, "invalid_question")
    problem(ask("/admin/schemas/menu:item:viewed/diff?from=1&to=99"), 404, "unknown_schema_version")
    assert ask("/v1/schemas").status == 200
    assert ask("/admin/overview").json()["gateways"][0]["state"] == "ready"
    # The console itself changes nothing unless configured.
    by_page = {"Content-Type": "application/json", "Origin": own}
    problem(gateway.curl("POST", "/admin/dead-letters/drop", body=b'{"all": true}', headers=by_page, admin=True), 403, "changes_not_allowed")


def test_every_documented_code_was_met(contract):
    """The last test of this file: what the document lists and the tests above could provoke is the same."""
    missing = contract.documented() - contract.met - NOT_PROVOKED
    assert not missing, f"documented, but never seen: {sorted(map(str, missing))}"
    surprising = contract.met - contract.documented()
    assert not surprising, f"seen, but not documented: {sorted(map(str, surprising))}"
