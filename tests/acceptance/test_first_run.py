"""A thousand events through curl: the answers, /metrics, the lake and the dead letters agree to the event."""

import gzip
import json
import random
import time
import zlib
from collections import Counter

import brotli
import pytest
import zstandard
from events import event, examples, new_uuid, text
from gateway import wait_until

FLUSH_AGE_SECONDS = 0.5
# What a loaded machine with a debug build may add to the flush age.
SLACK_SECONDS = 10

TOTAL, SIZE = 1000, 40

FORMS = {
    "object": ("application/json", None),
    "array": ("application/json", lambda raws: "[" + " ,\n".join(raws) + "]"),
    "batch": ("application/json; charset=utf-8", lambda raws: '{"sent_by": "a test", "events": [' + ",".join(raws) + "]}"),
    "ndjson": ("application/x-ndjson", lambda raws: "\n\n".join(raws) + "\r\n"),
    "plain lines": ("text/plain;charset=UTF-8", lambda raws: "\n".join(raws)),
    "plain array": ("text/plain", lambda raws: "\n [" + ",".join(raws) + "] "),
    "no content type": (None, lambda raws: "\n".join(raws) + "\n"),
}


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


ENCODINGS = {
    "none": (None, lambda data: data),
    "identity": ("identity", lambda data: data),
    "gzip": ("gzip", gzip.compress),
    "gzip without its header": (None, gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "br": ("br", brotli.compress),
    "zstd": ("zstd", zstandard.ZstdCompressor().compress),
}


class Sender:
    """Makes events in many hands of writing, sends them, and keeps the books that the gateway's are compared with."""

    def __init__(self, gateway):
        self.gateway, self.random = gateway, random.Random(2)
        self.good = [good for _, _, goods, _ in examples() for good in goods]
        self.bad = [(bad["event"], bad["code"]) for _, _, _, bads in examples() for bad in bads]
        self.accepted: dict[str, str] = {}
        self.rejected: list[tuple[str, str]] = []
        self.sent, self.counts = 0, Counter()

    def written(self, event: dict) -> str:
        """The event as some client would write it: spaces, escapes, and digits of its own choosing."""
        spaces = self.random.choice([(",", ":"), (", ", ": "), (" ,  ", " : ")])
        raw = json.dumps(event, ensure_ascii=self.random.random() < 0.5, separators=spaces)
        created_at = json.dumps(event["created_at"])
        other = self.random.choice([created_at, f"{event['created_at']:.6f}", f"{event['created_at'] * 1e-9!r}e9"])
        return raw.replace(created_at, other, 1) if abs(float(other) - event["created_at"]) < 1e-6 else raw

    def fresh(self) -> str:
        now = time.time() - self.random.random() * 86_400
        event = self.random.choice(self.good) | {"event_uuid": new_uuid(), "created_at": round(now, 3)}
        return self.written(event)

    def wrong(self) -> tuple[str, str]:
        """An event that is rejected, with its code."""
        kind = self.random.randrange(6)
        if kind == 0:
            return text(event(event_name="menu:section:reachd")), "unknown_event"
        if kind == 1:
            return text({key: value for key, value in event().items() if key != "created_at"}), "missing_field"
        if kind == 2:
            return text(event()).replace("{", '{"menu_id":"first",', 1), "duplicate_key"
        wrong, code = self.random.choice(self.bad)
        return self.written(wrong | {"event_uuid": new_uuid()}), code

    def batch(self, size: int) -> list[tuple[str, str]]:
        """`size` elements, each with what is expected to become of it."""
        elements, fresh = [], []
        for _ in range(size):
            kind = self.random.random()
            known = list(self.accepted.values()) + fresh
            if kind < 0.15:
                elements.append(self.wrong())
            elif kind < 0.35 and known:
                # The same identity again, byte for byte or in another hand.
                twin = self.random.choice(known)
                elements.append((self.random.choice([twin, self.written(json.loads(twin))]), "duplicate"))
            else:
                raw = self.fresh()
                fresh.append(raw)
                elements.append((raw, "accepted"))
        return elements

    def send(self, elements: list[tuple[str, str]], form: str, encoding: str):
        content_type, write = FORMS[form]
        coding, encode = ENCODINGS[encoding]
        raws = [raw for raw, _ in elements]
        body = encode((write(raws) if write else raws[0]).encode())
        headers = {"Content_Encoding": coding} if coding else {}
        answer = self.gateway.post(body, content_type, **headers)
        fates = ["accepted" if fate == "accepted" else "duplicates" if fate == "duplicate" else "rejected" for _, fate in elements]
        expected = Counter(fates)
        assert answer.counts == (expected["accepted"], expected["duplicates"], expected["rejected"], 0), (form, encoding)
        assert answer.status == (422 if expected["rejected"] == len(raws) else 207 if expected["rejected"] else 202)
        results = {result["index"]: result for result in answer.json()["results"]}
        assert list(results) == [index for index, fate in enumerate(fates) if fate != "accepted"]
        for index, (raw, fate) in enumerate(elements):
            if fate == "accepted":
                self.accepted[json.loads(raw)["event_uuid"]] = raw
            elif fate == "duplicate":
                assert results[index] == {"index": index, "event_uuid": json.loads(raw)["event_uuid"], "status": "duplicate"}
            else:
                assert results[index]["error"]["code"] == fate, results[index]
                self.rejected.append((raw, fate))
        self.counts += expected
        self.sent += len(elements)


@pytest.fixture(scope="module")
def sent(gateways):
    gateway = gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": str(int(FLUSH_AGE_SECONDS * 1000))})
    sender = Sender(gateway)
    combinations = [(form, encoding) for form in FORMS for encoding in ENCODINGS if form != "object"]
    for encoding in ENCODINGS:
        sender.send(sender.batch(1), "object", encoding)
    for index, (form, encoding) in enumerate(combinations):
        left, batches = TOTAL - sender.sent, len(combinations) - index
        sender.send(sender.batch(left // batches), form, encoding)
    assert sender.sent == TOTAL and min(sender.counts.values()) > 50, sender.counts
    wait_until("all of them in the lake", 30, lambda: gateway.metrics()["lakegate_spool_events"] == 0)
    return sender


def test_the_first_event_can_be_queried_within_the_flush_age(gateways):
    gateway = gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": str(int(FLUSH_AGE_SECONDS * 1000))})
    raw = text(event())
    started = time.monotonic()
    assert gateway.post(raw).counts == (1, 0, 0, 0)
    rows = wait_until("in the lake", FLUSH_AGE_SECONDS + SLACK_SECONDS, gateway.lake)
    print(f"queryable after {time.monotonic() - started:.2f} s")
    assert [row["payload"] for row in rows] == [raw]


def test_metrics_say_what_the_answers_said(sent):
    metrics = sent.gateway.metrics()
    accepted, rejected = sent.counts["accepted"], sent.counts["rejected"]
    outcome = {name: metrics.get(f'lakegate_events_total{{source="dev",outcome="{name}"}}', 0)
               for name in ("accepted", "duplicate", "rejected", "retry")}
    expected = {"accepted": accepted, "duplicate": sent.counts["duplicates"], "rejected": rejected, "retry": 0}
    assert outcome == expected
    assert metrics["lakegate_events_received_total"] == TOTAL == sum(outcome.values())
    assert metrics["lakegate_spool_appended_events_total"] == accepted
    assert metrics["lakegate_delivered_events_total"] == accepted
    assert metrics["lakegate_refused_events_total"] == metrics["lakegate_spool_lost_events_total"] == 0
    # Duplicates that were sent with another payload are kept too, and what came again was counted on the letter it has.
    conflicting = metrics['lakegate_conflicting_duplicates_total{source="dev"}']
    assert conflicting <= sent.counts["duplicates"]
    kept = metrics["lakegate_dead_letters_total"] + metrics["lakegate_repeated_dead_letters_total"]
    assert kept == rejected + conflicting
    assert len(sent.gateway.dead_letters()) == metrics["lakegate_dead_letters_total"]
    assert metrics["lakegate_dedup_identities"] == accepted
    codes = Counter(code for _, code in sent.rejected)
    for code, count in codes.items():
        assert metrics[f'lakegate_rejected_events_total{{code="{code}"}}'] == count
    assert metrics["lakegate_panics_total"] == 0


def test_the_lake_holds_each_accepted_event_once_byte_for_byte(sent):
    rows = sent.gateway.lake()
    assert len(rows) == sent.counts["accepted"]
    assert {row["event_uuid"]: row["payload"] for row in rows} == sent.accepted
    for row in rows:
        payload = json.loads(row["payload"])
        kinds = row["event_name"].split(":")
        assert (row["event_name"], row["event_type"], row["event_subtype"]) == (payload["event_name"], kinds[0], kinds[1])
        assert row["source"] == "dev"
        assert row["created_at"] == payload["created_at"]
        assert row["created_datetime"].isoformat()[:10] == row["created_date"]
        newest = 2 if row["event_name"] == "menu:item:viewed" else 1
        assert row["schema_version"] == payload.get("schema_version", newest)
        assert abs(row["created_datetime"].timestamp() - time.timezone - payload["created_at"]) < 0.001


def test_the_dead_letters_hold_each_rejected_event_whole(sent):
    letters = [letter for letter in sent.gateway.dead_letters() if letter["code"] != "conflicting_duplicate"]
    assert [(letter["raw"], letter["code"]) for letter in letters] == list(dict.fromkeys(sent.rejected)), "each once"
    assert all(letter["source"] == "dev" and letter["detail"] and "pointer" in letter for letter in letters)


def test_a_restart_forgets_nothing(sent):
    """After everything else: the same events once more, to the next process over the same folder."""
    gateway = sent.gateway
    assert gateway.stop() == 0
    gateway.start()
    raws = list(sent.accepted.values())
    answer = gateway.post("\n".join(raws), "application/x-ndjson")
    assert answer.counts == (0, len(raws), 0, 0)
    assert len(gateway.lake()) == len(raws)
