"""A refused body of 32 MiB: the clients that people have see the status and the problem, and no broken pipe.

Python's urllib and requests read an answer only after they have sent everything, so the gateway must go on reading. Each client is
the real one, over TLS and over plain HTTP.
"""

import hashlib
import json
import subprocess
import urllib.error
import urllib.request
import ssl

import pytest
import requests
from gateway import ENVIRONMENT

BODY = b"[" + b" " * (32 * 1024 * 1024) + b"]"
# Enough that a reset that comes only sometimes is met.
ROUNDS = 3


def key(name: str, more: str = "") -> str:
    return f'[[keys]]\nname = "{name}"\nsecret_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n{more}\n'


CONFIG = (
    key("good") + key("off", "enabled = false") + key("slow", "requests_per_second = 1\nrequests_burst = 1")
)


@pytest.fixture(scope="module", params=["tls", "plain"])
def gateway(request, gateways):
    return gateways(config=CONFIG, plaintext=request.param == "plain")


@pytest.fixture(scope="module")
def body_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("body") / "body.json"
    file.write_bytes(BODY)
    return file


def pieces():
    """The body in pieces: it is sent in chunks, without a length."""
    for at in range(0, len(BODY), 65536):
        yield BODY[at : at + 65536]


def headers(key: str, media_type: str) -> dict[str, str]:
    return {"X-Api-Key": key, "Content-Type": media_type}


def by_urllib(gateway, key, media_type, chunked, file):
    sent = urllib.request.Request(f"{gateway.url}/v1/events", data=pieces() if chunked else BODY, headers=headers(key, media_type))
    context = None if gateway.plaintext else ssl.create_default_context(cafile=str(gateway.certificate))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(sent, context=context, timeout=60)
    return refused.value.code, refused.value.read()


def by_requests(gateway, key, media_type, chunked, file):
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(gateway.certificate)
        data = pieces() if chunked else BODY
        answer = session.post(f"{gateway.url}/v1/events", data=data, headers=headers(key, media_type), timeout=60)
        return answer.status_code, answer.content


def by_curl(*options):
    def post(gateway, key, media_type, chunked, file):
        command = ["curl", "-sS", "--max-time", "60", *options, "-w", "\n%{http_code}", "--data-binary", f"@{file}"]
        for name, value in headers(key, media_type).items():
            command += ["-H", f"{name}: {value}"]
        command += ["-H", "Transfer-Encoding: chunked"] if chunked else []
        command += [] if gateway.plaintext else ["--cacert", str(gateway.certificate)]
        done = subprocess.run([*command, f"{gateway.url}/v1/events"], env=ENVIRONMENT, capture_output=True)
        # curl may say that it could not send the rest: what counts is that it has the answer.
        body, _, status = done.stdout.rpartition(b"\n")
        assert status != b"000", done.stderr
        return int(status), body

    return post


SCRIPT = """
const [url, key, type, chunked, file] = process.argv.slice(1);
const bytes = require('node:fs').readFileSync(file);
const body = chunked === 'true' ? new Blob([bytes]).stream() : bytes;
fetch(url, { method: 'POST', body, duplex: 'half', headers: { 'X-Api-Key': key, 'Content-Type': type } })
  .then(async (answer) => console.log(JSON.stringify([answer.status, await answer.text()])));
"""


def by_node(gateway, key, media_type, chunked, file):
    command = ["node", "-e", SCRIPT, f"{gateway.url}/v1/events", key, media_type, str(chunked).lower(), str(file)]
    environment = ENVIRONMENT | {"NODE_EXTRA_CA_CERTS": str(gateway.certificate)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    status, body = json.loads(done.stdout)
    return status, body.encode()


CLIENTS = {
    "urllib": by_urllib,
    "requests": by_requests,
    "curl": by_curl("--http1.1", "-H", "Expect:"),
    "curl that waits for 100": by_curl("--http1.1", "-H", "Expect: 100-continue"),
    "curl with HTTP/2": by_curl("--http2"),
    "node": by_node,
}


def assert_refused(answered, status: int, code: str):
    problem = json.loads(answered[1])
    assert (answered[0], problem["status"], problem["code"], problem["type"]) == (status, status, code, f"/errors#{code}")


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_body_that_is_too_large_is_answered_so(gateway, body_file, client, chunked):
    if chunked and client == "curl with HTTP/2":
        pytest.skip("HTTP/2 has no chunks")
    for _ in range(ROUNDS):
        assert_refused(CLIENTS[client](gateway, "good", "application/json", chunked, body_file), 413, "body_too_large")


@pytest.mark.parametrize(
    ("key", "media_type", "status", "code"),
    [
        ("nobody", "application/json", 401, "unknown_key"),
        ("off", "application/json", 403, "key_disabled"),
        # With a length it is too large before its type is looked at.
        ("good", "application/xml", 415, "unsupported_media_type"),
        ("slow", "application/json", 429, "rate_limited"),
    ],
)
@pytest.mark.parametrize("client", ["urllib", "requests", "curl with HTTP/2"])
def test_so_is_one_that_is_refused_for_another_reason(gateway, body_file, client, key, media_type, status, code):
    if status == 415 and "HTTP/2" in client:
        pytest.skip("HTTP/2 has no chunks")
    for chunked in [False] if "HTTP/2" in client else [True] if status == 415 else [False, True]:
        answered = CLIENTS[client](gateway, key, media_type, chunked, body_file)
        # The key has a request each second. One that is let through is told what else is wrong, and uses it up.
        for _ in range(5 if status == 429 else 0):
            if answered[0] == 413:
                answered = CLIENTS[client](gateway, key, media_type, chunked, body_file)
        assert_refused(answered, status, code)


def test_a_client_of_plain_http_on_the_port_for_https_is_told_so_even_with_a_large_body(gateway):
    if gateway.plaintext:
        pytest.skip("this port speaks plain HTTP")
    for data in [b"{}", BODY]:
        sent = urllib.request.Request(f"http://localhost:{gateway.port}/v1/events", data=data)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(sent, timeout=60)
        assert refused.value.code == 400
        assert f"Use https://localhost:{gateway.port}/" in refused.value.read().decode()
