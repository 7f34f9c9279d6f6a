"""A client against the real gateway: each answer, and what it does to each event."""

import base64
import hashlib
import json
import logging
import os
import signal
import socket
import threading
import time

import pytest
from between import Between
from gateway import wait_until
from lessons import NAME, in_lake, lesson, wait_for_lake

import lakegate
import lakegate.sender

DISK = pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])


def key(name: str, secret: str, **more: object) -> str:
    lines = [f'name = "{name}"', f'secret_sha256 = "{hashlib.sha256(secret.encode()).hexdigest()}"']
    return "\n".join(["[[keys]]", *lines, *(f"{name} = {value}" for name, value in more.items())]) + "\n"


@pytest.fixture
def quick_hold(monkeypatch):
    """A person needs minutes to mend a key; a test does not."""
    monkeypatch.setattr(lakegate.sender, "HOLD_SECONDS", 0.3)


@pytest.fixture
def between(gateways):
    made = Between(gateways(plaintext=True))
    yield made
    made.stop()


@pytest.fixture
def through(between, tmp_path):
    """A client with another server between it and the gateway."""
    made = []

    def make(**options):
        made.append(lakegate.Client(between.url, "dev", **{"flush_seconds": 0.05, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close(0)


@DISK
def test_events_of_many_threads_arrive_once(gateway, client, tmp_path, on_disk):
    lake = client(queue=tmp_path / "queue" if on_disk else None)
    tracked: list[str] = []
    threads = [threading.Thread(target=lambda: tracked.extend([lake.track(NAME, lesson(number)) for number in range(250)]))
               for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.flush(20)
    stats = lake.stats()
    assert (stats.tracked, stats.accepted, stats.queued, stats.failures, stats.problem) == (1000, 1000, 0, 0, None)
    assert sorted(wait_for_lake(gateway, set(tracked))) == sorted(tracked)


def test_a_request_is_sent_by_number_by_bytes_and_by_age(between, through):
    lake = through(batch_events=10, batch_bytes=3000, flush_seconds=60)
    for number in range(9):
        lake.track(NAME, lesson(number))
    # They take up more here than in a request, where they have some 2,000 bytes.
    assert lake.stats().queued_bytes > 3000 and not lake._sender._is_full(9)
    lake.track(NAME, lesson(9))
    wait_until("ten events go at once", 10, lambda: [len(lines) for lines in between.seen] == [10])
    for number in range(3):
        lake.track(NAME, lesson(number, note="x" * 1200))
    wait_until("so do 3,000 bytes", 10, lambda: [len(lines) for lines in between.seen][:2] == [10, 2])
    # With its last event, so that what comes now is of the next client.
    assert lake.close(20) == 0
    began = time.monotonic()
    lake = through(flush_seconds=0.4)
    seen = len(between.seen)
    lake.track(NAME, lesson(1))
    lake.track(NAME, lesson(2))
    wait_until("an old event goes", 10, lambda: len(between.seen) > seen)
    assert time.monotonic() - began >= 0.4 and len(between.seen[seen]) == 2
    assert between.connections == 2, "a client keeps its connection"


@DISK
def test_a_wrong_event_is_told_once_and_the_others_arrive(gateway, client, tmp_path, on_disk, caplog):
    told = []
    lake = client(queue=tmp_path / "queue" if on_disk else None, on_rejected=told.append)
    good = {lake.track(NAME, lesson(number)) for number in range(20)}
    bad = {lake.track(NAME, lesson(number, student_id="Maria")) for number in range(3)}
    unknown = lake.track("no:such:event", a=1)
    assert lake.flush(20)
    assert sorted(wait_for_lake(gateway, good)) == sorted(good)
    assert {one.event["event_uuid"] for one in told} == bad | {unknown} and len(told) == 4
    one = next(one for one in told if one.event["event_uuid"] in bad)
    assert (one.code, one.pointer, one.schema, one.in_dead_letters) == ("schema_violation", "/student_id", f"{NAME}/1", True)
    assert {letter["event_uuid"] for letter in gateway.dead_letters()} == bad | {unknown}
    assert lake.stats().rejected == 4
    # A line for each kind, not for each event; and what is in an event is no business of the log.
    lines = [record.getMessage() for record in caplog.records if "is rejected" in record.getMessage()]
    assert len(lines) == 2 and not (tmp_path / "queue/rejected.ndjson").exists()


def test_a_request_of_wrong_events_only_is_settled(gateway, client):
    told = []
    lake = client(on_rejected=told.append)
    lake.track(NAME, lesson(1, student_id="Maria"))
    assert lake.flush(20) and len(told) == 1 and lake.stats().failures == 0


def test_more_rejections_than_an_answer_can_list_are_all_told(gateway, client):
    told = []
    lake = client(on_rejected=told.append, batch_events=5000, batch_bytes=4_000_000, flush_seconds=30)
    good = {lake.track(NAME, lesson(number)) for number in range(10)}
    bad = {lake.track(NAME, lesson(number, student_id="Maria")) for number in range(2000)}
    assert lake.flush(40)
    assert {one.event["event_uuid"] for one in told} == bad and len(told) == 2000
    assert sorted(wait_for_lake(gateway, good)) == sorted(good)


@DISK
def test_a_wrong_key_costs_time_and_no_event_and_is_said_once(gateways, tmp_path, on_disk, quick_hold, caplog):
    gateway = gateways(config=key("other", "other"))
    queue = tmp_path / "queue" if on_disk else None
    with lakegate.Client(gateway.url, "shop-key", queue=queue, cafile=gateway.certificate, flush_seconds=0.05) as lake:
        tracked = {lake.track(NAME, lesson(number)) for number in range(5)}
        wait_until("it tried three times", 20, lambda: lake.stats().requests >= 3)
        stats = lake.stats()
        assert (stats.queued, stats.problem, stats.lost, stats.rejected) == (5, "unknown_key", 0, 0)
        assert len([record for record in caplog.records if "unknown_key" in record.getMessage()]) == 1
        (gateway.folder / "lakegate.toml").write_text(key("other", "other") + key("shop", "shop-key"))
        gateway.process.send_signal(signal.SIGHUP)
        assert lake.flush(20)
        assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)


def test_a_rate_limit_slows_the_client_down_and_loses_nothing(gateways):
    gateway = gateways(config=key("shop", "s", requests_per_second=10, requests_burst=10))
    with lakegate.Client(gateway.url, "s", cafile=gateway.certificate, flush_seconds=0.05, batch_events=5) as lake:
        began = time.monotonic()
        tracked = {lake.track(NAME, lesson(number)) for number in range(120)}
        assert lake.flush(30)
        # 10 of 24 requests at once, the others at 10 a second.
        assert time.monotonic() - began > 1.2
        assert lake.stats().failures > 0 and lake.stats().accepted == 120
        assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)


def test_a_gateway_that_can_store_nothing_is_waited_for(gateways, caplog):
    gateway = gateways(environment={"LAKEGATE__SPOOL__FREE_BYTES_MIN": str(10**15)})
    with lakegate.Client(gateway.url, "dev", cafile=gateway.certificate, flush_seconds=0.05) as lake:
        tracked = {lake.track(NAME, lesson(number)) for number in range(10)}
        wait_until("it was refused", 20, lambda: lake.stats().failures > 0)
        assert lake.stats().queued == 10 and lake.stats().problem in ("storage_unavailable", "quota_full", "busy")
        port = gateway.port
        gateway.stop()
        del gateway.environment["LAKEGATE__SPOOL__FREE_BYTES_MIN"]
        gateway.arguments[gateway.arguments.index("--listen") + 1] = f"127.0.0.1:{port}"
        gateway.start()
        assert lake.flush(30)
        assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)
        assert any("sending again" in record.getMessage() for record in caplog.records)


def test_an_event_to_be_sent_again_does_not_hold_up_the_others(gateways):
    """Dead letters that are full: the wrong events are answered `retry`, beside good ones that are accepted."""
    gateway = gateways(config=key("shop", "s") + "[dead_letters]\nbytes_per_key_max = 16777216\n")
    with lakegate.Client(gateway.url, "s", cafile=gateway.certificate, flush_seconds=0.05, batch_bytes=4_000_000) as lake:
        for _ in range(30):
            # Nothing that packs.
            lake.track("no:such:event", text=base64.b64encode(os.urandom(500_000)).decode())
        wait_until("the dead letters are full", 30, lambda: lake.stats().problem == "dead_letters_full")
        good = {lake.track(NAME, lesson(number)) for number in range(30)}
        assert sorted(wait_for_lake(gateway, good)) == sorted(good)
        assert lake.stats().queued > 0 and lake.stats().lost == 0


@DISK
def test_an_outage_is_sat_out(gateway, client, tmp_path, on_disk, caplog):
    lake = client(queue=tmp_path / "queue" if on_disk else None)
    tracked = {lake.track(NAME, lesson(number)) for number in range(10)}
    assert lake.flush(20)
    gateway.process.kill()
    gateway.process.wait()
    tracked |= {lake.track(NAME, lesson(number)) for number in range(600)}
    wait_until("it failed twice", 20, lambda: lake.stats().failures >= 2)
    assert lake.stats().problem == "unreachable"
    assert len([record for record in caplog.records if "unreachable" in record.getMessage()]) == 1
    gateway.arguments[gateway.arguments.index("--listen") + 1] = f"127.0.0.1:{gateway.port}"
    gateway.start()
    assert lake.flush(30)
    assert sorted(wait_for_lake(gateway, tracked)) == sorted(tracked)


def test_an_answer_that_is_lost_makes_duplicates_and_no_doubles(between, through):
    lost = iter(["pass-and-cut"] * 2 + ["cut"])
    between.answer = lambda lines: next(lost, None)
    lake = through()
    tracked = {lake.track(NAME, lesson(number)) for number in range(20)}
    assert lake.flush(30)
    stats = lake.stats()
    assert stats.accepted + stats.duplicates == 20 and stats.duplicates > 0 and stats.failures >= 3
    # Each time the same bytes.
    first = between.seen[0]
    assert all(line in first for lines in between.seen for line in lines)
    assert len(tracked) == 20


def test_a_kept_connection_that_the_gateway_closed_is_no_failure(gateways):
    gateway = gateways(environment={"LAKEGATE__HTTP__IDLE_TIMEOUT_SECONDS": "1"})
    with lakegate.Client(gateway.url, "dev", cafile=gateway.certificate, flush_seconds=0.02) as lake:
        for number in range(2):
            lake.track(NAME, lesson(number))
            assert lake.flush(10)
            sock = lake._connection._open.sock
            if number == 0:
                sock.settimeout(10)
                assert sock.recv(1) == b"", "the gateway closes it"
        assert lake.stats().failures == 0 and lake.stats().requests == 2


@DISK
@pytest.mark.parametrize("refusal", [
    (413, b"<html>too large</html>", {}), (400, json.dumps({"code": "unreadable_json", "detail": "why"}).encode(), {}),
    (415, json.dumps({"code": "unsupported_media_type"}).encode(), {}),
], ids=lambda refusal: str(refusal[0]))
def test_the_one_event_that_makes_a_request_wrong_is_found_and_kept(between, through, tmp_path, on_disk, refusal):
    between.answer = lambda lines: refusal if any(b"poison" in line for line in lines) else None
    told = []
    lake = through(queue=tmp_path / "queue" if on_disk else None, on_rejected=told.append)
    good = {lake.track(NAME, lesson(number)) for number in range(40)}
    bad = lake.track(NAME, lesson(1, course_id="poison"))
    good |= {lake.track(NAME, lesson(number)) for number in range(40)}
    assert lake.flush(30)
    assert lake.stats().accepted == 80 and len(good) == 80
    (one,) = told
    assert one.event["event_uuid"] == bad and one.in_dead_letters is False
    assert one.code == (json.loads(refusal[1])["code"] if refusal[0] != 413 else "status 413")
    if on_disk:
        (line,) = (tmp_path / "queue/rejected.ndjson").read_text().splitlines()
        assert json.loads(line)["event"] == one.event and json.loads(line)["code"] == one.code
    assert len(between.seen) < 40, "by halves"


@pytest.mark.parametrize("answer", [
    (200, b"<html>Sign in to the network</html>", {}), (302, b"", {"Location": "http://localhost/login"}), (404, b"", {}),
    (400, b"<html>proxy</html>", {}), (202, b'{"accepted":1,"duplicates":0,"rejected":0,"retry":0,"results":[]}', {}),
], ids=["login", "redirect", "404", "400", "another's counts"])
def test_what_is_between_is_not_taken_for_the_gateway(between, through, quick_hold, answer):
    strange = iter([answer] * 2)
    between.answer = lambda lines: next(strange, None)
    lake = through()
    for number in range(3):
        lake.track(NAME, lesson(number))
    assert lake.flush(20)
    assert (lake.stats().accepted, lake.stats().failures, len(between.seen)) == (3, 2, 3)


def test_retry_after_is_obeyed_and_not_cut_short_by_close(between, through):
    between.answer = lambda lines: (503, b"", {"Retry-After": "2"}) if len(between.seen) == 1 else None
    lake = through()
    lake.track(NAME, lesson(1))
    wait_until("it is refused", 10, lambda: lake.stats().failures == 1)
    began = time.monotonic()
    assert lake.close(20) == 0
    assert 1.5 < time.monotonic() - began < 4


def test_close_tries_once_more_at_once(between, through, monkeypatch):
    monkeypatch.setattr(lakegate.sender.random, "uniform", lambda low, high: 1000.0)
    between.answer = lambda lines: (503, b"", {}) if len(between.seen) == 1 else None
    lake = through()
    lake.track(NAME, lesson(1))
    wait_until("it is refused", 10, lambda: lake.stats().failures == 1)
    assert lake.close(20) == 0 and lake.stats().accepted == 1


def test_pauses_grow_at_random_up_to_a_bound(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(lakegate.sender.random, "uniform", lambda low, high: drawn.append((low, high)) or 0.0)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    lake = lakegate.Client(f"http://127.0.0.1:{port}", "dev", flush_seconds=0)
    lake.track(NAME, lesson(1))
    wait_until("it tried often", 20, lambda: len(drawn) >= 12)
    lake.close(0)
    assert drawn[:8] == [(0, 0.5), (0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (0, 30), (0, 30)]


def test_a_certificate_that_is_not_trusted_sends_nothing(gateway, quick_hold):
    lake = lakegate.Client(gateway.url, "dev", flush_seconds=0.02)
    lake.track(NAME, lesson(1))
    wait_until("it tried", 20, lambda: lake.stats().failures > 0)
    assert lake.stats().problem == "certificate"
    assert lake.close(0) == 1 and in_lake(gateway) == []


def test_a_base_path_is_kept_and_a_whole_address_is_taken(between):
    for url, path in ((f"{between.url}/k/dev", "/k/dev/v1/events"), (f"{between.url}/v1/events", "/v1/events"), (f"{between.url}/", "/v1/events")):
        lake = lakegate.Client(url, "dev")
        assert lake._connection._path == path
    for wrong in ("events.example.com", "ftp://example.com", "https://"):
        with pytest.raises(ValueError, match="no URL"):
            lakegate.Client(wrong, "dev")


def test_a_proxy_of_the_environment_is_used_unless_the_host_is_excepted(gateways, monkeypatch):
    """A proxy that tunnels (CONNECT), as for every https gateway."""
    gateway = gateways()
    heads = []

    def serve(server):
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            heads.append(client.recv(4096).decode())
            to = socket.create_connection(("127.0.0.1", gateway.port))
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            for source, sink in ((client, to), (to, client)):
                threading.Thread(target=pump, args=(source, sink), daemon=True).start()

    def pump(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pa%40ss@127.0.0.1:{server.getsockname()[1]}")
        for excepted, connects in (("", 1), ("localhost", 1)):
            monkeypatch.setenv("NO_PROXY", excepted)
            with lakegate.Client(gateway.url, "dev", cafile=gateway.certificate) as lake:
                lake.track(NAME, lesson(1))
                assert lake.flush(20)
            assert len(heads) == connects
        assert heads[0].startswith(f"CONNECT localhost:{gateway.port} ") and "Proxy-Authorization: Basic bWU6cGFAc3M=" in heads[0]
        server.shutdown(socket.SHUT_RDWR)


def test_what_packs_too_well_is_sent_plain(gateway, client):
    """The gateway refuses a body that inflates more than 64 times."""
    lake = client()
    lake.track(NAME, lesson(1, course_id="c" * 60))
    lake.track("menu:unknown", text="a" * 900_000)
    assert lake.flush(20)
    assert (lake.stats().accepted, lake.stats().rejected, lake.stats().failures) == (1, 1, 0)


def test_the_key_is_in_no_line_of_the_log(gateway, caplog, quick_hold):
    caplog.set_level(logging.DEBUG)
    with lakegate.Client(gateway.url, "secret-key", cafile=gateway.certificate, flush_seconds=0.02) as lake:
        lake.track(NAME, lesson(1, course_id="secret-course"))
        wait_until("it was refused", 20, lambda: lake.stats().failures > 0)
        lake.close(0)
    assert caplog.records and "secret" not in caplog.text
