"""What schemathesis does not know by itself: see test_openapi_fuzz.py."""

import schemathesis
from contract import Contract
from gateway import Answer

CONTRACT = Contract()


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """The contract describes it as text; what is made is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.check
def every_rule_of_the_contract(context, response, case):
    """What no schema can say: see `Contract.faults`."""
    headers = {name.lower(): ", ".join(values) for name, values in response.headers.items()}
    asked = case.headers or {}
    preferences = str(asked.get("Prefer", ""))
    answer = Answer(
        case.method.upper(), case.formatted_path, response.status_code, headers, response.content, "",
        may_be_whole="answers=whole" in preferences, may_be_minimal="return=minimal" in preferences,
    )
    CONTRACT.check(answer, admin=case.path.startswith(("/metrics", "/admin/")))
