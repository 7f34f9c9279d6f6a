"""The verdict on an answer: what is settled, what is sent again, and when."""

import json
import random
from email.utils import formatdate
from time import time

import pytest

from lakegate.answer import Next, read


def body(accepted=0, duplicates=0, rejected=0, retry=0, results=(), **more) -> bytes:
    counts = {"accepted": accepted, "duplicates": duplicates, "rejected": rejected, "retry": retry}
    return json.dumps({**counts, "results": list(results), **more}).encode()


def result(index: int, status: str, code: str = "c") -> dict:
    return {"index": index, "status": status, "error": {"code": code, "detail": "d", "pointer": "/p"}}


@pytest.mark.parametrize("status", [200, 202])
def test_an_answer_without_results_settles_all(status):
    verdict = read(status, body(accepted=2, duplicates=1), None, 3)
    assert (verdict.next, verdict.settled, verdict.rejected) == (Next.GO_ON, [0, 1, 2], {})
    assert (verdict.accepted, verdict.duplicates) == (2, 1)


# A whole answer is 503 with the same members.
@pytest.mark.parametrize("status", [200, 207, 503])
def test_each_event_ends_as_results_says(status):
    answer = body(accepted=1, rejected=1, retry=1, results=[result(0, "rejected"), result(2, "retry", "busy")])
    verdict = read(status, answer, "7", 3)
    assert verdict.settled == [0, 1]
    assert list(verdict.rejected) == [0] and verdict.rejected[0]["code"] == "c"
    assert (verdict.next, verdict.problem, verdict.retry_after) == (Next.WAIT, "busy", 7.0)


def test_a_request_of_which_all_is_rejected_is_settled():
    verdict = read(422, body(rejected=2, results=[result(0, "rejected"), result(1, "rejected")], code="all_rejected"), None, 2)
    assert (verdict.next, verdict.settled, sorted(verdict.rejected)) == (Next.GO_ON, [0, 1], [0, 1])


def test_rejections_that_are_not_listed_are_asked_again_in_smaller_requests():
    answer = body(accepted=1, rejected=3, results=[result(0, "rejected")], results_truncated=True)
    verdict = read(207, answer, None, 4)
    assert (verdict.next, verdict.settled, list(verdict.rejected)) == (Next.SPLIT, [0], [0])
    assert verdict.accepted == 0, "the accepted one is counted when its own answer names it"


@pytest.mark.parametrize("answer", [
    b"", b"<html>Sign in</html>", b"[]", b"\xff", body(accepted=2), body(accepted=4), b'{"accepted":3}',
    body(accepted=3, results=[]).replace(b'"results": []', b'"results": 1'),
    json.dumps({"accepted": True, "duplicates": 2, "rejected": 0, "retry": 0, "results": []}).encode(),
])
def test_a_200_that_is_none_of_the_gateways_settles_nothing(answer):
    verdict = read(200, answer, None, 3)
    assert (verdict.next, verdict.settled) == (Next.HOLD, [])


@pytest.mark.parametrize(("status", "code", "next_step"), [
    *((status, None, Next.WAIT) for status in (408, 429, 500, 502, 503, 504)),
    *((status, None, Next.HOLD) for status in (301, 302, 400, 401, 403, 404, 405, 415, 418, 511)),
    *((status, "unreadable_json", Next.SPLIT) for status in (400, 415)), (413, None, Next.SPLIT), (413, "body_too_large", Next.SPLIT),
])
def test_an_answer_to_the_whole_request_settles_nothing(status, code, next_step):
    verdict = read(status, json.dumps({"code": code} if code else {}).encode(), None, 3)
    assert (verdict.next, verdict.settled, verdict.rejected) == (next_step, [], {})
    assert verdict.problem == (code or f"status {status}")


@pytest.mark.parametrize(("text", "seconds"), [
    ("3", 3), ("0", 0), ("-5", 0), ("999999999", 3600), ("soon", None), ("", None), (None, None), ("Mon, 01 Jan 2001 00:00:00 GMT", 0),
])
def test_retry_after_is_read_within_bounds(text, seconds):
    assert read(503, b"", text, 1).retry_after == seconds


def test_retry_after_may_be_a_date():
    seconds = read(503, b"", formatdate(time() + 30, usegmt=True), 1).retry_after
    assert seconds is not None and 25 < seconds <= 30


def test_whatever_the_answer_no_event_is_both_settled_and_sent_again_or_forgotten():
    """Random answers, true and damaged: an event is settled only by an answer whose counts are those of the request."""
    chance = random.Random(7)
    for _ in range(3000):
        count = chance.randint(1, 6)
        fates = [chance.choice(["accepted", "duplicate", "rejected", "retry"]) for _ in range(count)]
        numbers = [fates.count(name) for name in ("accepted", "duplicate", "rejected", "retry")]
        listed = [result(index, fate) for index, fate in enumerate(fates) if fate != "accepted" and chance.random() < 0.8]
        answer = body(*numbers, results=listed, **({"results_truncated": True} if chance.random() < 0.5 else {}))
        verdict = read(chance.choice([200, 202, 207, 422, 503]), answer, None, count)
        assert not [index for index in verdict.settled if fates[index] == "retry"], (fates, listed)
        assert set(verdict.rejected) <= set(verdict.settled)
        assert {index for index in verdict.rejected} <= {index for index, fate in enumerate(fates) if fate == "rejected"}
        assert verdict.next is not Next.GO_ON or len(verdict.settled) == count


@pytest.mark.parametrize("codes, is_theirs", [
    (["dead_letters_full", "in_flight", "lost"], True), (["dead_letters_full", "busy"], False), (["quota_full"], False), (["new_code"], False),
])
def test_an_event_that_alone_is_at_fault_holds_up_no_others(codes, is_theirs):
    answer = body(retry=len(codes), results=[result(index, "retry", code) for index, code in enumerate(codes)])
    verdict = read(503, answer, "90", len(codes))
    assert (verdict.next, verdict.is_theirs, verdict.later) == (Next.WAIT, is_theirs, list(range(len(codes))))
