"""Holds answers against openapi.yaml: status, content type, headers, and the body's JSON Schema.

openapi.yaml is plain, so that generators make usable clients of it (test_openapi_clients.py): one schema for all answers, one for all
problems, strings in place of enums, and members that may be added. What an answer may really be is told by strict.yaml, by the
tables of codes, and by `Contract.faults`; every answer is held against all of them. test_contract_strict.py shows that each rule holds.
"""

import copy
import json
import re
from urllib.parse import quote

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gateway import ROOT, Answer

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
# What a sender may put more into: the gateway does not close these.
OPEN = {"Event", "Batch", "EventSchema"}
COUNTS = {"duplicate": "duplicates", "rejected": "rejected", "retry": "retry"}


def merged(document, patch):
    """A merge patch (RFC 7396), applied."""
    if not isinstance(patch, dict):
        return patch
    found = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def codes(document: dict) -> set:
    """Every code of the tables in the document's introduction, with its status or its outcome."""
    problems, events = document["info"]["description"].split("In `results`, `rejected` events carry:")
    rejected, retry = events.split("and `retry` events:")
    found = {(int(status), code) for status, code in re.findall(r"\| (\d{3}) \| `(\w+)` \|", problems)}
    found |= {("rejected", code) for code in re.findall(r"\| `(\w+)` \|", rejected)}
    return found | {("retry", code) for code in re.findall(r"\| `(\w+)` \|", retry)}


def strict(plain: dict) -> dict:
    """The document with nothing left open: with strict.yaml, with the codes of the tables, and no member that is not described."""
    found = merged(copy.deepcopy(plain), yaml.safe_load((ROOT / "tests/acceptance/strict.yaml").read_text()))
    schemas = found["components"]["schemas"]
    for name, schema in schemas.items():
        if name not in OPEN and "properties" in schema and schema.get("additionalProperties") is True:
            schema["additionalProperties"] = False
    for where in {where for where, _ in codes(plain)}:
        of = sorted(code for at, code in codes(plain) if at == where)
        schemas[f"{str(where).capitalize()}Codes"] = {"type": "string", "enum": of}
    return found


class Contract:
    """The document. It remembers which of its codes were met."""

    def __init__(self):
        self.plain = yaml.safe_load((ROOT / "openapi.yaml").read_text())
        self.document = strict(self.plain)
        self.registry = Registry().with_resources([
            ("urn:openapi", Resource(self.plain, DRAFT202012)), ("urn:strict", Resource(self.document, DRAFT202012)),
        ])
        self.paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in self.document["paths"]]
        # A path without parameters goes before one with them.
        self.paths.sort(key=lambda pair: pair[1].count("{"))
        self.met = set()

    def resolve(self, place: list[str]):
        """What is at `place`, and its real place where that is a $ref."""
        found = self.document
        for step in place:
            found = found[step]
        if isinstance(found, dict) and "$ref" in found and found["$ref"].startswith("#/components/"):
            return self.resolve(found["$ref"].removeprefix("#/").split("/"))
        return found, place

    def errors(self, place: list[str], value, document="urn:strict") -> list[str]:
        pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1")) for step in place)
        schema = {"$ref": f"{document}#/{pointer}"}
        validator = Draft202012Validator(schema, registry=self.registry, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def check(self, answer: Answer, admin: bool = False):
        """Fails where the document does not allow `answer`."""
        where = f"{answer.method} {answer.path} -> {answer.status} {answer.body[:400]!r}"
        # The key may stand before each path of the events' listener.
        path = answer.path.split("?")[0] if admin else re.sub("^/k/[^/?]+(?=/)", "", answer.path).split("?")[0]
        template = next((template for pattern, template in self.paths if pattern.fullmatch(path)), None)
        if template and re.match("/(metrics|admin/)", template) and not admin:
            template = None
        if template is None:
            # Other paths answer 404, as a problem.
            return self.check_response(["components", "responses", "NotFound"], 404, answer, where)
        operations = self.document["paths"][template]
        method = "get" if answer.method == "HEAD" and "get" in operations else answer.method.lower()
        if method not in operations:
            # Other methods answer 405, as a problem; the document says so once, and with each operation.
            return self.check_response(["components", "responses", "MethodNotAllowed"], 405, answer, where)
        place = ["paths", template, method, "responses"]
        responses, _ = self.resolve(place)
        assert str(answer.status) in responses, f"undocumented status: {where}"
        return self.check_response([*place, str(answer.status)], answer.status, answer, where)

    def check_response(self, place, status, answer, where):
        assert answer.status == status, f"{status} is documented: {where}"
        response, place = self.resolve(place)
        for name, header in response.get("headers", {}).items():
            header, header_place = self.resolve([*place, "headers", name])
            value = answer.headers.get(name.lower())
            if value is None:
                assert not header.get("required"), f"no {name}: {where}"
                continue
            is_integer = header["schema"].get("type") == "integer"
            wrong = self.errors([*header_place, "schema"], int(value) if is_integer else value)
            assert not wrong, f"{name}: {value}: {wrong}: {where}"
        if "content" not in response:
            assert not answer.body and "content-type" not in answer.headers, f"no content is documented: {where}"
            return
        content_type = answer.headers.get("content-type", "")
        media_type = content_type.split(";")[0]
        assert media_type in response["content"], f"content type {content_type}: {where}"
        if answer.method == "HEAD":
            return
        if media_type.startswith("image/"):
            # It has no room for a problem: the code is in a header.
            where_in_tables = {200: None, 422: "rejected", 503: None}.get(answer.status, answer.status)
            if where_in_tables:
                self.met.add((where_in_tables, answer.headers["lakegate-code"]))
            return
        is_json = media_type.endswith("json")
        value = json.loads(answer.body) if is_json else answer.body.decode()
        schema_place = [*place, "content", media_type, "schema"]
        # What generators see, and what it really is.
        wrong = self.errors(schema_place, value, "urn:openapi") + self.errors(schema_place, value)
        if is_json and isinstance(value, dict) and not wrong:
            wrong = self.faults(answer, value)
        assert not wrong, f"{wrong}: {where}"
        if is_json and media_type == "application/problem+json":
            self.met.add((status, value["code"]))
        for result in value.get("results", []) if isinstance(value, dict) else []:
            if "error" in result:
                self.met.add((result["status"], result["error"]["code"]))

    def faults(self, answer: Answer, value: dict) -> list[str]:
        """What no schema can say of an answer: how its members go together, with each other, the headers and the request."""
        wrong = []
        if "code" in value and "request_id" in value:
            if value["type"] != f"/errors#{value['code']}":
                wrong.append(f"the type {value['type']} is not that of {value['code']}")
            if value["request_id"] != answer.headers.get("x-request-id"):
                wrong.append("request_id is not X-Request-Id")
        if not {"accepted", "duplicates", "rejected", "retry", "results"} <= value.keys() or "letters" in value:
            return wrong
        counts, results = {status: value[name] for status, name in COUNTS.items()}, value["results"]
        if not answer.may_be_whole and answer.status == 200:
            wrong.append("200 is for whole answers")
        if not answer.may_be_whole and answer.status == 503 and value["accepted"] + counts["duplicate"] + counts["rejected"]:
            wrong.append("a 503 that settles events is for whole answers")
        if answer.status == 207 and value["accepted"] + counts["duplicate"] + counts["rejected"] == 0:
            wrong.append("all retry is 503")
        if answer.status == 207 and value["accepted"] + counts["duplicate"] + counts["retry"] == 0:
            wrong.append("all rejected is 422")
        if "opted_out" not in value and value["accepted"] + sum(counts.values()) == 0:
            wrong.append("no events")
        if (answer.status in (207, 503) and counts["retry"] > 0) != ("retry-after" in answer.headers):
            wrong.append("Retry-After is there with retry and no other")
        indexes = [result["index"] for result in results]
        if indexes != sorted(set(indexes)):
            wrong.append("results are not in input order, each once")
        for status, count in counts.items():
            listed = sum(result["status"] == status for result in results)
            left_out = "results_truncated" in value or (answer.may_be_minimal and status != "retry")
            if listed > count or (listed < count and (status == "retry" and answer.status != 503 or not left_out)):
                wrong.append(f"{count} {status}, but {listed} are listed")
        return wrong

    def documented(self) -> set:
        """Every code of the tables in the document's introduction."""
        return codes(self.plain)
