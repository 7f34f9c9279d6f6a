"""Holds answers against openapi.yaml: status, content type, headers, and the body's JSON Schema."""

import json
import re
from urllib.parse import quote

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gateway import ROOT, Answer

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


class Contract:
    """The document. It remembers which of its codes were met."""

    def __init__(self):
        self.document = yaml.safe_load((ROOT / "openapi.yaml").read_text())
        self.registry = Registry().with_resource("urn:openapi", Resource(self.document, DRAFT202012))
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

    def errors(self, place: list[str], value) -> list[str]:
        pointer = "/".join(quote(step.replace("~", "~0").replace("/", "~1")) for step in place)
        schema = {"$ref": f"urn:openapi#/{pointer}"}
        validator = Draft202012Validator(schema, registry=self.registry, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def check(self, answer: Answer, admin: bool = False):
        """Fails where the document does not allow `answer`."""
        where = f"{answer.method} {answer.path} -> {answer.status} {answer.body[:400]!r}"
        path = answer.path.split("?")[0]
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
        _, schema_place = self.resolve([*place, "content", media_type, "schema"])
        wrong = self.errors(schema_place, value)
        assert not wrong, f"{wrong}: {where}"
        if is_json and media_type == "application/problem+json":
            assert value["type"] == f"urn:lakegate:problem:{value['code']}", where
            assert value["request_id"] == answer.headers["x-request-id"], where
            self.met.add((status, value["code"]))
        for result in value.get("results", []) if isinstance(value, dict) else []:
            if "error" in result:
                self.met.add((result["status"], result["error"]["code"]))

    def documented(self) -> set:
        """Every code of the tables in the document's introduction."""
        text = self.document["info"]["description"]
        problems, events = text.split("In `results`, `rejected` events carry:")
        rejected, retry = events.split("and `retry` events:")
        codes = {(int(status), code) for status, code in re.findall(r"\| (\d{3}) \| `(\w+)` \|", problems)}
        codes |= {("rejected", code) for code in re.findall(r"\| `(\w+)` \|", rejected)}
        return codes | {("retry", code) for code in re.findall(r"\| `(\w+)` \|", retry)}
