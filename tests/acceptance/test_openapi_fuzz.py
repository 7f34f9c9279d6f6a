"""schemathesis makes requests from openapi.yaml, right and wrong ones, and holds the answers against it."""

import subprocess
import sys
from pathlib import Path

import pytest
from gateway import ENVIRONMENT, ROOT

# The budget is spent to its end.
SECONDS = {"gateway": 45, "operators": 10}
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance",
]


@pytest.mark.parametrize("listener", SECONDS)
def test_no_request_made_from_the_contract_gets_an_answer_beyond_it(gateways, tmp_path, listener):
    admin = listener == "operators"
    # Requests beyond the rate are answered 429, which says nothing new.
    gateway = gateways(environment={"LAKEGATE__LAKE__FLUSH_AGE_MS": "200", "LAKEGATE__RATE_LIMIT__EVENTS_PER_SECOND": "1000000"})
    url = f"http://127.0.0.1:{gateway.admin_port}" if admin else gateway.url
    paths = "^/(metrics|healthz|readyz|admin/.*)$" if admin else "^/(v1/.*|healthz|readyz)$"
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(ROOT / "openapi.yaml"), "--url", url,
        "--tls-verify", str(gateway.certificate), "--header", "X-Api-Key: dev", "--include-path-regex", paths,
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--mode", "all", "--seed", "2",
        "--max-examples", "100", "--max-time", str(SECONDS[listener]), "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT | hooks, capture_output=True, text=True, timeout=180)
    log = done.stdout + done.stderr
    assert done.returncode == 0 and "No issues found" in log, log[-8_000:]
    metrics = gateway.metrics()
    requests = sum(value for name, value in metrics.items() if name.startswith("lakegate_requests_total"))
    assert requests > 100, "it was really asked"
    assert admin or metrics["lakegate_events_received_total"] > 100, "with bodies that could be read"
    assert metrics["lakegate_panics_total"] == 0
