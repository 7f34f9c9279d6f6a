"""The examples of docs/backend.md lose nothing: each through every trouble that an answer can be, then to a gateway that runs.

The trouble is played by scripted_gateway.py, which keeps books: each good event is accepted once and sent with the same bytes every
time, each bad one is told with code and pointer, and nothing is sent before `Retry-After`.
"""

import hashlib
import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import required
from events import new_uuid
from gateway import Answer, wait_until
from scripted_gateway import Event, Play, Request, ScriptedGateway, at_most, foreign, honest, not_stored, refuse, reset
from sender_programs import LANGUAGES, Language, Sent, build_example, send

# One sender's time for one scenario. The longest needs about ten seconds, on a machine that does nothing else.
SECONDS_MAX = 180
TOLD = re.compile(r"^rejected: (\S+) (\S*) (\S*)$", re.MULTILINE)
SUMMARY = re.compile(r"accepted (\d+), duplicates (\d+), rejected (\d+), unsent (\d+)\n$")


@dataclass
class Scenario:
    name: str
    script: list[Play]
    # How many events each request has to have; None where the test says it.
    sizes: list[int]
    events: int = 6
    # The places of the bad ones.
    bad: frozenset[int] = frozenset({3})
    afterwards: Play = honest
    answers: str = "each"
    all_good: int = 202
    # How many are to be left, and how the example is built.
    unsent: int = 0
    limits: dict = field(default_factory=dict)


SCENARIOS = [
    Scenario("good", [], [6], bad=frozenset()),
    Scenario(
        "one trouble after another",
        [refuse(503, "storage_unavailable", 1), not_stored(1, 4, retry_after=1), refuse(429, "rate_limited", 1), reset(stored=True, cut_after=-20)],
        [6, 6, 2, 2, 2],
    ),
    # Nothing of it was written by the gateway, so nothing of it acknowledges.
    Scenario(
        "strangers in between",
        [
            foreign(502, "<h1>Bad Gateway</h1>", Retry_After="Fri, 27 Nov 2026 10:00:00 GMT"), foreign(200, "<h1>Please log in</h1>"),
            foreign(200, "{}", "application/json"),
        ],
        [6] * 4,
    ),
    Scenario("other JSON", [foreign(202, "[]", "application/json"), foreign(200, "null", "application/json")], [6] * 3),
    Scenario(
        "counts of another request",
        [foreign(202, '{"accepted":1,"duplicates":0,"rejected":0,"retry":0,"results":[]}', "application/json")], [6, 6],
    ),
    Scenario("reset before the answer", [reset(stored=False, cut_after=0), reset(stored=True, cut_after=0), refuse(408, "request_timeout")], [6] * 4),
    Scenario("cut in the body", [reset(stored=True, cut_after=-20), reset(stored=False, cut_after=-1)], [6] * 3),
    Scenario("whole answers", [not_stored(0, retry_after=1), not_stored(0, 1, retry_after=1)], [6, 6, 6], answers="whole", all_good=200),
    Scenario("too large", [], [4, 2, 1, 1, 2, 1, 1], events=4, bad=frozenset(), afterwards=at_most(1)),
    Scenario("one event too large", [], [1], events=1, bad=frozenset(), afterwards=at_most(0), unsent=1),
    Scenario("a wrong key", [], [6], afterwards=refuse(401, "unknown_key"), unsent=6),
    Scenario("batches", [], [2, 2, 1], events=5, limits={"batch": 2}),
    Scenario("a gateway that never recovers", [], [5, 5, 5], events=5, afterwards=refuse(503, "stopping"), unsent=5, limits={"tries": 3}),
]


def lines_of(scenario: Scenario) -> list[str]:
    """Spelled as no serializer spells them, so that one that reads and writes them again is found."""
    bad = [', "bad" : 1.0' if index in scenario.bad else "" for index in range(scenario.events)]
    return ['{"event_uuid" :"%s","event_name":"lesson:started","title":"Über 🎓 \\u00e9"%s}' % (new_uuid(), fault) for fault in bad]


@dataclass
class Played:
    lines: list[str]
    gateway: ScriptedGateway
    sent: Sent


def play(command: list[str], scenario: Scenario) -> Played:
    lines = lines_of(scenario)
    gateway = ScriptedGateway(scenario.script, scenario.afterwards, scenario.answers, scenario.all_good)
    with gateway.running() as url:
        sent = send(command, f"{url}/v1/events", "".join(line + "\n" for line in lines), SECONDS_MAX)
    return Played(lines, gateway, sent)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Builds an example, once."""
    done = {}

    def command(language: Language, **limits) -> list[str]:
        key = (language.name, *limits.items())
        if key not in done:
            done[key] = build_example(language, tmp_path_factory.mktemp("sender") / "program", **limits)
        return done[key]

    return command


@pytest.fixture(scope="module")
def played(built):
    """All examples in all scenarios: at one time, because each waits most of it."""
    here = [language for language in LANGUAGES if not language.missing]
    pairs = [(language, scenario) for language in here for scenario in SCENARIOS]
    commands = [built(language, **scenario.limits) for language, scenario in pairs]
    with ThreadPoolExecutor(24) as pool:
        results = pool.map(play, commands, [scenario for _, scenario in pairs])
        return {(language.name, scenario.name): result for (language, scenario), result in zip(pairs, results)}


PLAYED = [
    (202, "ggg", honest), (207, "gbg", honest), (207, "ggg", not_stored(1, retry_after=1)), (422, "bb", honest),
    (503, "gg", not_stored(0, 1, retry_after=1)), (503, "g", refuse(503, "storage_unavailable", 1)), (429, "g", refuse(429, "rate_limited", 1)),
    (401, "g", refuse(401, "unknown_key")), (408, "g", refuse(408, "request_timeout")), (413, "g", at_most(0)),
]


@pytest.mark.parametrize("status, events, play", PLAYED, ids=[f"{status} {events}" for status, events, _ in PLAYED])
def test_what_is_played_is_what_the_contract_says(status, events, play, contract):
    request = Request([Event(new_uuid(), "", kind == "b") for kind in events], {}, arrived=0)
    answer = play(ScriptedGateway([]), request)
    assert answer.status == status
    headers = {name.lower(): value for name, value in answer.headers.items()}
    contract.check(Answer("POST", "/v1/events", answer.status, headers, answer.body, "HTTP/1.1"))


LANGUAGE = pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)


@LANGUAGE
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_an_example_settles_every_event_through_trouble(language, scenario, played):
    if language.missing:
        required.cannot_run(language.missing)
    found = played[language.name, scenario.name]
    gateway, sent, lines = found.gateway, found.sent, found.lines
    said = f"{sent.stderr}{[(len(request.events), request.status) for request in gateway.requests]}"
    assert sent.code == 0, said
    # Batches and no more: only what is to be sent again is sent again.
    assert [len(request.events) for request in gateway.requests] == scenario.sizes, said
    # The same bytes each time.
    assert {event.text for request in gateway.requests for event in request.events} <= set(lines), said
    for request, following in zip(gateway.requests, gateway.requests[1:]):
        assert following.arrived - request.answered >= request.retry_after, f"before Retry-After: {said}"
    uuids = [json.loads(line)["event_uuid"] for line in lines]
    left = sent.stdout.splitlines()
    assert len(left) == scenario.unsent and set(left) <= set(lines), said
    bad = [uuid for index, uuid in enumerate(uuids) if index in scenario.bad] if not left else []
    good = [uuid for uuid in uuids if uuid not in bad] if not left else []
    assert gateway.accepted == Counter(good), said
    # Each bad event is told once, with its code and the place of its fault.
    assert sorted(TOLD.findall(sent.stderr)) == sorted(("schema_violation", "/student_id", uuid) for uuid in bad), said
    accepted, duplicates, rejected, unsent = map(int, SUMMARY.search(sent.stderr).groups())
    assert (accepted + duplicates, rejected, unsent) == (len(good), len(bad), len(left)), said


@LANGUAGE
def test_an_example_tells_why_it_gave_up(language, played):
    if language.missing:
        required.cannot_run(language.missing)
    assert "the request is wrong: 401" in played[language.name, "a wrong key"].sent.stderr
    assert "unknown_key" in played[language.name, "a wrong key"].sent.stderr
    assert "no answer that can be read" in played[language.name, "reset before the answer"].sent.stderr


# More requests than a key may send at once, so that the gateway answers 429 with what it has of its own.
LESSONS, AT_ONCE, A_SECOND = 1_203, 1, 1
# The places of lessons without a student, of an event of no type, and of what is no JSON.
BAD_LESSONS = {
    7: ("schema_violation", ""), 500: ("schema_violation", ""), 1_200: ("unknown_event", "/event_name"), 1_201: ("invalid_json", ""),
}


def lessons() -> list[str]:
    lines = []
    for number in range(LESSONS):
        lesson = {"event_uuid": new_uuid(), "event_name": "lesson:started", "created_at": time.time(), "lesson_id": f"l-{number}",
                  "course_id": "c-1", "student_id": new_uuid(), "attempt_number": 1}
        if number in (7, 500):
            del lesson["student_id"]
        if number == 1_200:
            lesson["event_name"] = "lesson:dreamt"
        lines.append(json.dumps(lesson))
    lines[1_201] = '{"event_uuid": "no'
    # A line that is there twice is one event.
    lines[1_202] = lines[0]
    return lines


@pytest.fixture(scope="module")
def lessons_sent(built, gateways):
    """Every example sends to one gateway, each with a key of its own. The gateway is there only after they began."""
    here = [language for language in LANGUAGES if not language.missing]
    keys = "".join(
        f'[[keys]]\nname = "k{number}"\nsecret_sha256 = "{hashlib.sha256(f"key-{number}".encode()).hexdigest()}"\n'
        f"requests_per_second = {A_SECOND}\nrequests_burst = {AT_ONCE}\n"
        for number in range(len(here))
    )
    gateway = gateways(config=keys, plaintext=True, environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": "500"})
    url = f"{gateway.url}/v1/events"
    lines = {language.name: lessons() for language in here}
    gateway.stop()
    gateway.arguments[gateway.arguments.index("127.0.0.1:0")] = f"127.0.0.1:{gateway.port}"
    with ThreadPoolExecutor(len(here)) as pool:
        waiting = {
            language.name: pool.submit(send, built(language), url, "\n".join(lines[language.name]), SECONDS_MAX, key=f"key-{number}")
            for number, language in enumerate(here)
        }
        gateway.start()
        return gateway, {name: (f"k{number}", lines[name], done.result()) for number, (name, done) in enumerate(waiting.items())}


@LANGUAGE
def test_an_example_sends_to_a_gateway_that_was_away_and_limits_its_rate(language, lessons_sent):
    if language.missing:
        required.cannot_run(language.missing)
    gateway, sent = lessons_sent
    source, lines, said = sent[language.name]
    assert (said.code, said.stdout) == (0, ""), said
    good = [json.loads(line)["event_uuid"] for index, line in enumerate(lines[:-1]) if index not in BAD_LESSONS]
    told = sorted((code, pointer) for code, pointer, _ in TOLD.findall(said.stderr))
    assert told == sorted(BAD_LESSONS.values()), said.stderr
    accepted, duplicates, rejected, unsent = map(int, SUMMARY.search(said.stderr).groups())
    assert (accepted, duplicates, rejected, unsent) == (len(good), 1, len(BAD_LESSONS), 0)
    in_lake = wait_until("all are in the lake", 30, lambda: at_least(len(good), gateway, source))
    assert Counter(in_lake) == Counter(good)
    assert len(gateway.dead_letters(source)) == len(BAD_LESSONS)
    refused = [value for name, value in gateway.metrics().items() if name.startswith("lakegate_requests_total") and 'status="429"' in name]
    assert sum(refused) > 0, "the rate of no key was limited"


def at_least(count: int, gateway, source: str) -> list[str] | None:
    rows = [str(row["event_uuid"]) for row in gateway.lake("event_uuid, source") if row["source"] == source]
    return rows if len(rows) >= count else None
