"""What senders write without our libraries: times as RFC 3339 text, other names of JSON, and first attempts that go wrong."""

import datetime
import json
import shutil
import socket
import ssl
import subprocess

import pytest
from events import event, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until

# What the libraries of each language write for the same moment, with what follows from it.
MOMENT = datetime.datetime(2026, 11, 19, 18, 0, 3, 500_000)
TIMES = {
    "Go": '"2026-11-19T19:00:03.5+01:00"',
    "JavaScript": '"2026-11-19T18:00:03.500Z"',
    "Python": '"2026-11-19T18:00:03.500000+00:00"',
    "Python's str": '"2026-11-19 18:00:03.500000+00:00"',
    ".NET": '"2026-11-19T18:00:03.5000000Z"',
    ".NET, escaped": '"2026-11-19T19:00:03.5000000\\u002B01:00"',
    "Java": '"2026-11-20T08:00:03.500000000+14:00"',
    "lower case": '"2026-11-19t06:00:03.5-12:00"',
    "a number": "1795111203.5",
}


def with_time(time: str, **fields) -> tuple[str, str]:
    """An event with `created_at` spelled so, and its identity."""
    wanted = event(**fields)
    del wanted["created_at"]
    return text(wanted)[:-1] + f',"created_at":{time}}}', wanted["event_uuid"]


def test_a_time_as_text_is_the_same_time_in_the_lake_and_kept_as_it_was_written(gateway):
    sent = {}
    for time in TIMES.values():
        body, identity = with_time(time)
        sent[identity] = (body, time)
        assert gateway.post(body).counts == (1, 0, 0, 0)
        assert gateway.post(body).counts == (0, 1, 0, 0), "sent again, it is the same event"

    def rows():
        found = [row for row in gateway.lake() if row["event_uuid"] in sent]
        return found if len(found) == len(sent) else None

    for row in wait_until("all are in the lake", 30, rows):
        body, time = sent[row["event_uuid"]]
        assert row["payload"] == body
        assert row["created_at"] == 1795111203.5, time
        assert row["created_datetime"] == MOMENT, time
        assert row["created_date"] == "2026-11-19", time


@pytest.mark.parametrize("time", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.999+00:00"])
def test_a_leap_second_is_on_its_day(gateway, time):
    body, identity = with_time(f'"{time}"')
    assert gateway.post(body).counts == (1, 0, 0, 0)
    row = wait_until("it is in the lake", 30, lambda: [row for row in gateway.lake() if row["event_uuid"] == identity])[0]
    assert row["created_datetime"].date() == datetime.date(2016, 12, 31)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ('"2026-11-19T18:00:03.500000"', "has no offset: append Z for UTC"),
        ('"2026-11-19 18:00:03"', "has no offset: append Z for UTC"),
        ('"2026-11-19"', "is a date without a time"),
        ('"2026-11-19T18:00:03+0100"', "offset in another form than +01:00"),
        ('"2026-11-19T19:00:03+01:00[Europe/Berlin]"', "leave out the brackets"),
        ('"2026-02-30T18:00:03Z"', "is no time of any day"),
        ('"0001-01-01T00:00:00Z"', "is before 1970"),
        ('"1795111203.5"', "is a number in quotes"),
        ('"yesterday"', "is not RFC 3339"),
        ("null", "got null"),
    ],
)
def test_what_is_no_time_is_told_what_to_do(gateway, time, said):
    error = gateway.post(with_time(time)[0]).json()["results"][0]["error"]
    assert (error["code"], error["pointer"]) == ("invalid_created_at", "/created_at")
    assert said in error["detail"], error


def test_a_schema_that_says_number_judges_all_else_of_an_event_with_a_text(gateway):
    body, _ = with_time(TIMES["Go"], section_index="first")
    error = gateway.post(body).json()["results"][0]["error"]
    assert (error["code"], error["pointer"]) == ("schema_violation", "/section_index")


def test_a_pixel_takes_a_time_as_text(gateway):
    fields = event()
    query = "&".join(f"{name}{':' if isinstance(value, int) else ''}={value}" for name, value in fields.items() if name != "created_at")
    answer = gateway.curl("GET", f"/v1/pixel.gif?{query}&created_at=2026-11-19T19:00:03.5%2B01:00")
    assert answer.status == 200 and "lakegate-code" not in answer.headers, answer
    refused = gateway.curl("GET", f"/v1/pixel.gif?{query}&created_at=yesterday")
    assert (refused.status, refused.headers["lakegate-code"]) == (422, "invalid_created_at")


def test_a_dead_letter_with_a_time_as_text_is_replayed(gateways):
    gateway = gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": "500"})
    body, identity = with_time('"2026-11-19T18:00:03"')
    assert gateway.post(body).counts == (0, 0, 1, 0)
    wait_until("it is kept", 10, gateway.dead_letters)
    patch = gateway.folder / "patch.json"
    patch.write_text(json.dumps([{"op": "replace", "path": "/created_at", "value": "2026-11-19T18:00:03.5Z"}]))
    command = [str(binary()), "dead-letters", "replay", "--data-dir", str(gateway.data), "--admin", f"127.0.0.1:{gateway.admin_port}"]
    done = subprocess.run(
        [*command, "--patch", str(patch), "--where", "code=invalid_created_at"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    row = wait_until("it is in the lake", 30, lambda: [row for row in gateway.lake() if row["event_uuid"] == identity])[0]
    assert (row["created_at"], row["created_datetime"]) == (1795111203.5, MOMENT)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.api+json",
        "application/cloudevents+json; charset=utf-8",
        "application/cloudevents-batch+json",
        "Application/Problem+JSON",
        "application/json; charset=UTF-8",
        "application/json;charset=ISO-8859-1",
    ],
)
def test_each_media_type_of_json_is_taken(gateway, media_type):
    assert gateway.post(text(event()), media_type).counts == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("body", "media_type", "status", "said"),
    [
        (b"event_name=a", "application/x-www-form-urlencoded", 415, "Content-Type: application/json"),
        (b"--x", "multipart/form-data; boundary=x", 415, "send the JSON itself"),
        (b"event_name=a&created_at=1", "application/json", 400, "this is a form"),
        (b"{}\n{}\n", "application/json", 400, "application/x-ndjson"),
        (json.dumps(text(event())).encode(), "application/json", 400, "encoded twice"),
        (text(event()).encode("utf-16"), "application/json", 400, "byte order mark of UTF-16"),
        (text(event()).encode("utf-16-le"), "application/json", 400, "looks like UTF-16"),
        (text(event()).encode("utf-16-be"), "application/x-ndjson", 400, "looks like UTF-16"),
        (text(event(section_id="é")).encode("latin-1"), "application/json; charset=ISO-8859-1", 400, "not UTF-8"),
        (b"[object Object]", "application/json", 400, "JSON.stringify"),
        (str(event()).encode(), "application/json", 400, "json.dumps"),
    ],
)
def test_a_body_that_is_no_json_is_told_what_it_is(gateway, body, media_type, status, said):
    answer = gateway.post(body, media_type)
    assert answer.status == status and said in answer.json()["detail"], answer
    assert gateway.post(b"\xef\xbb\xbf" + text(event()).encode()).counts == (1, 0, 0, 0), "a mark of UTF-8 is skipped"


def test_an_unknown_event_is_told_the_command_that_makes_its_schema_and_the_command_works(gateways, tmp_path):
    schemas = tmp_path / "schemas"
    shutil.copytree(ROOT / "schemas", schemas)
    gateway = gateways(schemas=schemas)
    first = text(event(event_name="order:created"))
    detail = gateway.post(first).json()["results"][0]["error"]["detail"]
    assert len(detail) <= 300
    command = detail.split("run: ")[1].split(" (")[0].split()
    assert command == ["lakegate", "schemas", "new", "order:created"]
    subprocess.run([str(binary()), *command[1:], "--schemas", str(schemas)], check=True, capture_output=True, env=ENVIRONMENT)
    said = lambda: gateway.post(first).json()["results"][0]["error"]["code"]  # noqa: E731
    wait_until("the gateway has the schema", 20, lambda: said() == "schema_violation")
    wrong_name = gateway.post(text(event(event_name="menu:section:reachd"))).json()["results"][0]["error"]["detail"]
    assert 'did you mean "menu:section:reached"?' in wrong_name


@pytest.mark.parametrize(
    ("path", "right"),
    [
        ("/", "POST /v1/events"), ("/v1", "POST /v1/events"), ("/events", "POST /v1/events"), ("/v1/event", "POST /v1/events"),
        ("/v1/events/", "POST /v1/events"), ("/v2/events", "POST /v1/events"), ("/api/events", "POST /v1/events"),
        ("/V1/Events", "POST /v1/events"), ("//v1//events", "POST /v1/events"), ("/schemas", "GET /v1/schemas"),
        ("/ready", "GET /readyz"), ("/metrics", "listener for operators"), ("/openapi.json", "GET /openapi.yaml"),
    ],
)
def test_a_wrong_path_is_told_the_right_one(gateway, path, right):
    answer = gateway.curl("POST", path, body=b"{}", options=["--path-as-is"])
    assert (answer.status, answer.code) == (404, "not_found")
    assert right in answer.json()["detail"], answer


def test_a_wrong_method_is_told_the_right_one(gateway):
    answer = gateway.curl("GET", "/v1/events")
    assert (answer.status, set(answer.headers["allow"].split(","))) == (405, {"POST", "OPTIONS"})
    assert "takes events by POST, not GET: curl" in answer.json()["detail"]
    assert "use GET" in gateway.curl("POST", "/readyz", body=b"{}").json()["detail"]
    assert "listener for events" in gateway.curl("POST", "/events", body=b"{}", admin=True).json()["detail"]


@pytest.mark.parametrize("admin", [False, True], ids=["events", "operators"])
@pytest.mark.parametrize(("path", "media_type"), [("/errors", "text/html"), ("/openapi.yaml", "application/yaml")])
def test_the_codes_and_the_contract_are_served(gateway, path, media_type, admin):
    page = gateway.curl("GET", path, admin=admin, headers={"X-Api-Key": None})
    assert (page.status, page.headers["content-type"]) == (200, f"{media_type}; charset=utf-8")
    head = gateway.curl("HEAD", path, admin=admin)
    assert (head.status, head.headers["etag"], int(head.headers["content-length"])) == (200, page.headers["etag"], len(page.body))
    again = gateway.curl("GET", path, admin=admin, headers={"If-None-Match": page.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    if path == "/openapi.yaml":
        assert page.body == (ROOT / "openapi.yaml").read_bytes()
    else:
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-") and "script" not in policy


def test_the_type_of_a_problem_is_an_anchor_of_the_page(gateway):
    page = gateway.curl("GET", "/errors").body.decode()
    for answer in [gateway.post(b"{"), gateway.post(b"{}", X_Api_Key="bad"), gateway.curl("GET", "/nowhere")]:
        place, anchor = answer.json()["type"].split("#")
        assert place == "/errors" and f'<tr id="{anchor}">' in page


def test_tls_on_a_port_of_plain_http_is_logged_with_what_to_do(gateways):
    gateway = gateways(plaintext=True)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection, pytest.raises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
    wait_until("it is logged", 10, lambda: "spoke TLS to a port of plain HTTP" in gateway.log.read_text())
    assert gateway.log.read_text().count("spoke TLS") == 1


def test_a_page_with_tracing_may_send(gateways):
    config = (
        '[[keys]]\nname = "page"\nkind = "browser"\nallowed_origins = ["https://menu.example"]\n'
        'secret_sha256 = "' + "0" * 64 + '"\n'
    )
    gateway = gateways(config=config)
    asked = "content-type,traceparent,tracestate,baggage,sentry-trace,x-b3-traceid,x-datadog-trace-id,x-forwarded-for"
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}
    answer = gateway.curl("OPTIONS", "/v1/events", headers=headers | {"Origin": "https://menu.example"})
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert set(asked.split(",")) - allowed == {"x-forwarded-for"}
    assert gateway.curl("OPTIONS", "/v1/events", headers=headers | {"Origin": "https://other.example"}).status == 403
