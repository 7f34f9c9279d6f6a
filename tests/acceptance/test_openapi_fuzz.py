"""schemathesis makes requests from openapi.yaml, right and wrong ones, and holds the answers against it: those of the listener
for events over HTTPS, those of the operators' over HTTP, all of them together.

The document is the strict one of contract.py: it has all forms of a body, and lets pass nothing that openapi.yaml leaves open."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from contract import Contract
from gateway import ENVIRONMENT

# The budget is spent to its end.
SECONDS = {"gateway": 45, "operators": 35}
PATHS = {
    "gateway": r"^/(v1/.*|healthz|readyz|errors|openapi\.yaml)$",
    "operators": r"^/(metrics|healthz|readyz|errors|openapi\.yaml|admin/(?!tail$).*)$",
}
# An answer without an end, which schemathesis would wait for: tests/it/tail.rs.
ENDLESS = {"/admin/tail"}
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance",
    # fuzz_hooks.py
    "every_rule_of_the_contract",
]


SPECIFICATION = Contract().document
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


def operations(paths: str) -> int:
    return sum(len(METHODS & set(item)) for path, item in SPECIFICATION["paths"].items() if re.match(paths, path))


def test_every_operation_is_one_of_a_listener():
    assert all(any(re.match(paths, path) for paths in PATHS.values()) for path in SPECIFICATION["paths"].keys() - ENDLESS)


@pytest.mark.parametrize("listener", SECONDS)
def test_no_request_made_from_the_contract_gets_an_answer_beyond_it(gateways, tmp_path, listener):
    admin = listener == "operators"
    # Requests beyond the rate are answered 429, which says nothing new.
    rates = {"EVENTS_PER_SECOND", "ADDRESS_REQUESTS_PER_SECOND", "ADDRESS_REQUESTS_BURST"}
    environment = {f"LAKEGATE__RATE_LIMIT__{rate}": "1000000" for rate in rates}
    gateway = gateways(environment=environment | {"LAKEGATE__LAKE__FLUSH_AGE_MS": "200"})
    url = f"http://127.0.0.1:{gateway.admin_port}" if admin else gateway.url
    assert admin or url.startswith("https://")
    paths = PATHS[listener]
    specification = tmp_path / "openapi.json"
    specification.write_text(json.dumps(SPECIFICATION))
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(specification), "--url", url,
        "--tls-verify", str(gateway.certificate), "--header", "X-Api-Key: dev", "--include-path-regex", paths,
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--mode", "all", "--seed", "2",
        "--max-examples", "100", "--max-time", str(SECONDS[listener]), "--continue-on-failure",
        "--suppress-health-check", "all", "--warnings", "off",
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT | hooks, capture_output=True, text=True, timeout=180)
    log = done.stdout + done.stderr
    assert done.returncode == 0 and "No issues found" in log, log[-8_000:]
    figures = {name: re.search(rf"{name}: *(\d+)", log) for name in ("Selected", "Tested")}
    figures = {name: int(found[1]) for name, found in figures.items() if found}
    assert figures == dict.fromkeys(("Selected", "Tested"), operations(paths)), log[-2_000:]
    print(f"schemathesis, {listener}: {figures['Tested']} operations at {url}, {re.search(r'[0-9]+ generated.*', log)[0]}")
    metrics = gateway.metrics()
    for path in (path for path in SPECIFICATION["paths"] if re.match(paths, path)):
        asked = sum(value for name, value in metrics.items() if f'route="{path}"' in name and "lakegate_requests_total" in name)
        assert asked >= 5, f"{path} was really asked"
    assert admin or metrics["lakegate_events_received_total"] > 20, "with bodies that could be read"
    assert metrics["lakegate_panics_total"] == 0
