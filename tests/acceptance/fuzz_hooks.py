"""What schemathesis does not know by itself: see test_openapi_fuzz.py."""

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """The contract describes it as text; what is made is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
