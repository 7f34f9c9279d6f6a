"""The command line and the configuration, and that secrets stay out of the logs."""

import hashlib
import subprocess

import pytest
from events import event, new_uuid, text
from gateway import ENVIRONMENT, ROOT, Gateway, binary, wait_until

EX_CONFIG = 78


def lakegate(*arguments, **environment):
    command = [str(binary()), *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT | environment, cwd=ROOT, capture_output=True, text=True, timeout=30)


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key(name: str, secret: str, enabled="true") -> str:
    return f'[[keys]]\nname = "{name}"\nsecret_sha256 = "{sha256(secret)}"\nenabled = {enabled}\n'


def test_the_version_is_said():
    manifest = (ROOT / "Cargo.toml").read_text()
    version = manifest.split("[workspace.package]")[1].split('version = "')[1].split('"')[0]
    assert lakegate("--version").stdout == f"lakegate {version}\n"


def test_the_annotated_example_is_the_default():
    checked = lakegate("config", "check", "--config", ROOT / "lakegate.example.toml")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout == lakegate("config", "check").stdout
    assert 'listen = "127.0.0.1:8443"' in checked.stdout


def test_the_environment_goes_over_the_file(tmp_path):
    file = tmp_path / "lakegate.toml"
    file.write_text("[lake]\nflush_age_ms = 1000\n")
    checked = lakegate("config", "check", "--config", file, LAKEGATE__LAKE__FLUSH_AGE_MS="2000")
    assert checked.returncode == 0 and "flush_age_ms = 2000" in checked.stdout


@pytest.mark.parametrize("content, said", [
    ('[spool]\nquota_bytes = "much"', ["spool.quota_bytes", '"much"', "expected u64"]),
    ("[spool]\nsegment_bytes = 1", ["spool.segment_bytes", "found 1", "at least"]),
    ("[http]\nlisten = \"somewhere\"", ["http.listen", "socket address"]),
    ("[lake]\nflush = 1", ["lake.flush: unknown key; did you mean lake.flush_age_ms?"]),
    ('[schemas]\nunknown_events = "drop"', ["schemas.unknown_events", "`drop`", "`reject`", "`accept`"]),
    ('[[keys]]\nname = "a"\nsecret_sha256 = "secret"', ["keys[0].secret_sha256", "64 hexadecimal"]),
    ('[[keys]]\nname = "a"', ["keys[0].secret_sha256", "is missing"]),
    ('[[keys]]\nname = "a"\nsecrets = [{ sha256 = "x", not_after = "soon" }]', ["keys[0].secrets[0].not_after", '"soon"', "RFC 3339"]),
    ("[tls]\ncertificate = \"x.pem\"", ["tls", "private_key"]),
    ("= 1", ["not TOML", "line 1"]),
])
def test_a_wrong_value_names_file_key_what_was_found_and_what_is_allowed(tmp_path, content, said):
    file = tmp_path / "lakegate.toml"
    file.write_text(content)
    for command in (["config", "check"], ["serve"]):
        checked = lakegate(*command, "--config", file)
        assert checked.returncode == EX_CONFIG, checked
        assert checked.stdout == ""
        for part in [str(file), *said]:
            assert part in checked.stderr


def test_a_wrong_variable_and_a_missing_file_are_named(tmp_path):
    checked = lakegate("config", "check", LAKEGATE__ADMIN__LISTEN="9090")
    assert checked.returncode == EX_CONFIG and "LAKEGATE__ADMIN__LISTEN: admin.listen" in checked.stderr
    checked = lakegate("config", "check", LAKEGATE__HTPP__PORT="1")
    assert checked.returncode == EX_CONFIG
    assert "LAKEGATE__HTPP__PORT: unknown key; did you mean LAKEGATE__HTTP__…?" in checked.stderr
    checked = lakegate("config", "check", "--config", tmp_path / "none.toml")
    assert checked.returncode == EX_CONFIG and "none.toml: cannot be read" in checked.stderr


def test_a_variable_with_too_few_underscores_is_told_and_not_read():
    checked = lakegate("config", "check", LAKEGATE_HTTP_LISTEN="127.0.0.1:1")
    assert checked.returncode == 0 and checked.stdout == lakegate("config", "check").stdout
    assert "LAKEGATE_HTTP_LISTEN is not read" in checked.stderr and "LAKEGATE__HTTP__LISTEN?" in checked.stderr


def test_without_keys_it_listens_on_loopback_only(tmp_path):
    refused = lakegate("serve", "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0", "--plaintext", "--data-dir", tmp_path / "data")
    checked = lakegate("config", "check", LAKEGATE__HTTP__LISTEN="0.0.0.0:0", LAKEGATE__HTTP__PLAINTEXT="true")
    for answer in (refused, checked):
        assert (answer.returncode, answer.stdout) == (EX_CONFIG, "")
        assert "0.0.0.0 is not a loopback address and no [[keys]] are configured" in answer.stderr


def test_beyond_loopback_it_wants_a_certificate_or_plaintext(tmp_path):
    file = tmp_path / "lakegate.toml"
    file.write_text(key("web", "s3cret"))
    refused = lakegate("serve", "--config", file, "--listen", "0.0.0.0:0", "--admin", "127.0.0.1:0", "--data-dir", tmp_path / "data")
    checked = lakegate("config", "check", "--config", file, LAKEGATE__HTTP__LISTEN="0.0.0.0:0")
    for answer in (refused, checked):
        assert (answer.returncode, answer.stdout) == (EX_CONFIG, "")
        assert "no [tls] certificate is configured" in answer.stderr and "plaintext" in answer.stderr
    checked = lakegate("config", "check", "--config", file, LAKEGATE__HTTP__LISTEN="0.0.0.0:0", LAKEGATE__HTTP__PLAINTEXT="true")
    assert checked.returncode == 0


def test_a_new_key_is_made_with_its_lines_for_the_file(gateways):
    made = lakegate("keys", "new", "menu", "--kind", "browser", "--origin", "https://menu.example", "--events", "menu:*")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.splitlines()[0].split(": ")[1]
    assert len(secret) == 36 and secret not in made.stdout.split("\n", 1)[1]
    gateway = gateways(config=made.stdout)
    assert gateway.post(text(event()), X_Api_Key=secret, Origin="https://menu.example").status == 202
    assert gateway.post(text(event()), X_Api_Key=secret).code == "origin_not_allowed"
    assert lakegate("keys", "new", "menu", "--kind", "browser").stderr.startswith("lakegate: keys[0].allowed_origins: is empty")
    assert lakegate("keys", "new", "two words").returncode != 0


def test_configured_keys_work_in_each_place_and_dev_does_not(gateways):
    gateway = gateways(config=key("web", "s3cret/+") + key("old", "gone", "false"))
    no_key = {"X_Api_Key": None}
    assert gateway.post(text(event()), X_Api_Key="s3cret/+").status == 202
    assert gateway.post(text(event()), **no_key, Authorization="Bearer s3cret/+").status == 202
    query = gateway.curl("POST", "/v1/events?key=s3cret%2F%2B", body=text(event()).encode(), headers={"X-Api-Key": None})
    assert query.status == 202
    for headers, status, code in [
        ({"X_Api_Key": "dev"}, 401, "unknown_key"),
        (no_key, 401, "missing_key"),
        ({"X_Api_Key": "gone"}, 403, "key_disabled"),
    ]:
        answer = gateway.post(text(event()), **headers)
        assert (answer.status, answer.code) == (status, code)
    assert gateway.metrics()['lakegate_events_total{source="web",outcome="accepted"}'] == 3


def test_plaintext_speaks_http_and_makes_no_certificate(gateways):
    gateway = gateways(plaintext=True)
    answer = gateway.post(text(event()))
    assert (answer.status, answer.http_version) == (202, "HTTP/1.1")
    assert gateway.curl("GET", "/healthz", options=["--http2-prior-knowledge"]).http_version == "HTTP/2"
    assert not gateway.certificate.exists()


@pytest.mark.parametrize("options, version", [
    (["--tlsv1.2", "--tls-max", "1.2", "--http1.1"], "HTTP/1.1"),
    (["--tlsv1.2", "--tls-max", "1.2"], "HTTP/2"),
    (["--tlsv1.3"], "HTTP/2"),
    (["--tlsv1.3", "--http1.1"], "HTTP/1.1"),
])
def test_tls_of_both_versions_with_both_protocols(gateway, options, version):
    assert gateway.curl("GET", "/healthz", options=options).http_version == version


def test_keys_and_payloads_are_never_logged(gateways):
    secrets = [f"secret-{new_uuid()}" for _ in range(4)]
    known, unknown, query, payload = secrets
    config = key("web", known) + key("query", query) + '[telemetry]\nlog_filter = "trace"\n[lake]\nflush_age_ms = 100\n'
    gateway = gateways(config=config)
    good, bad = text(event(section_name=payload)), text(event(section_name=payload, surprise=payload))
    broken = f'{{"section_name":"{payload}",'
    headers = {"X-Api-Key": None, "Authorization": f"Bearer {known}"}
    for body in (good, bad, broken, f"[{good},{bad}]", f'{{"event_name":"{payload}"}}', f'[{{"event_uuid":"{payload}"}}, "{payload}"]'):
        gateway.curl("POST", "/v1/events", body=body.encode(), headers=headers)
        gateway.curl("POST", f"/v1/events?key={query}", body=body.encode(), headers={"X-Api-Key": None})
    assert gateway.post(good, X_Api_Key=unknown).status == 401
    assert gateway.curl("POST", f"/v1/events?key={unknown}", body=b"{}", headers={"X-Api-Key": None}).status == 401
    wait_until("delivered", 20, lambda: gateway.metrics()["lakegate_delivered_events_total"] == 1)
    assert gateway.stop() == 0
    log = gateway.log.read_text()
    assert '"answered"' in log, "the requests are in the log at this level"
    for secret in secrets:
        assert secret not in log


def test_a_stop_drains_and_exits_with_0(gateways):
    """Events of the last moment are in the lake, though their flush age was far away."""
    gateway = gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": "3600000"})
    raws = [text(event()) for _ in range(50)]
    assert gateway.post("\n".join(raws), "application/x-ndjson").status == 202
    assert gateway.lake() == []
    assert gateway.stop() == 0
    assert sorted(row["payload"] for row in gateway.lake()) == sorted(raws)


def test_a_port_in_use_is_named(gateway, tmp_path):
    refused = lakegate("serve", "--listen", f"127.0.0.1:{gateway.port}", "--admin", "127.0.0.1:0", "--data-dir", tmp_path)
    assert refused.returncode == 1 and f"http.listen: cannot listen on 127.0.0.1:{gateway.port}" in refused.stderr


def test_one_data_folder_has_one_gateway(gateway):
    """Two processes over one spool would destroy it."""
    second = lakegate("serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir", gateway.data)
    assert second.returncode == 1, second
    assert "is in use by process" in second.stderr and "--data-dir DIR" in second.stderr
    assert isinstance(gateway, Gateway) and gateway.post(text(event())).status == 202
