"""The schema of the AWS provider, from the npm package @cdktn/provider-aws, which is generated from it.

The provider itself is an archive of 700 MB on a host of its own. The package is on npm, and says of every attribute whether it is
required, optional or computed, and how blocks nest. What it does not have are the provider's own checks of values.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

from rig_paths import CACHE, TERRAFORM

# Version 25.7 is generated from provider 6.66.
PACKAGE = "@cdktn/provider-aws@25.7.0"
SHA512 = "E/nhu0yVZE4mXMgIPuI8tEFt1BExLkA7ARjihdG+/HmfDfzLr+OEF3dkFRvI6glRt30lrrBWQLwXqCJBxcmyUg=="
TYPES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
USED = re.compile(r'^\s*(resource|data) "(aws_\w+)"', re.MULTILINE)


def package() -> Path:
    """The package's tarball, fetched once."""
    file = CACHE / "cdktn-provider-aws-25.7.0.tgz"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", PACKAGE, "--silent", "--pack-destination", CACHE], check=True, stdout=subprocess.DEVNULL)
    found = base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()
    assert found == SHA512, f"{file} is not {PACKAGE}: delete it, and look where npm gets its packages"
    return file


def provider_schema() -> dict:
    """The schemas of all types that deploy/terraform uses, as `terraform providers schema -json` would print them."""
    used = {match for file in TERRAFORM.rglob("*.tf") for match in USED.findall(file.read_text())}
    names = sorted(f"data.{name}" if kind == "data" else name for kind, name in used)
    digest = hashlib.sha256("\n".join([SHA512, Path(__file__).read_text(), *names]).encode()).hexdigest()[:16]
    file = CACHE / f"schema-{digest}.json"
    if not file.exists():
        text = json.dumps(read(package(), names))
        beside = file.with_suffix(f".{id(text)}")
        beside.write_text(text)
        beside.rename(file)
    return json.loads(file.read_text())


def read(tarball: Path, names: list[str]) -> dict:
    folders = {}
    for name in names:
        kind = name.removeprefix("data.").removeprefix("aws_")
        folders[("data-aws-" if name.startswith("data.") else "") + kind.replace("_", "-")] = name
    sources = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            match = re.match(r"package/lib/([^/]+)/index\.(d\.ts|js)$", member.name)
            if match and match[1] in folders:
                sources[match[1], match[2]] = archive.extractfile(member).read().decode()
    schema = {"resource_schemas": {}, "data_source_schemas": {}}
    for folder, name in folders.items():
        assert (folder, "js") in sources, f"the provider has no {name}"
        bindings = Bindings(sources[folder, "d.ts"], sources[folder, "js"])
        where = "data_source_schemas" if name.startswith("data.") else "resource_schemas"
        schema[where][name.removeprefix("data.")] = {"version": 0, "block": bindings.whole()}
    return schema


class Bindings:
    """The TypeScript interfaces and JavaScript classes of one type."""

    def __init__(self, declarations: str, code: str):
        self.declarations = declarations
        self.interfaces = {m[1]: m[2] for m in re.finditer(r"export interface (\w+)[^{]*\{(.*?)^\}", declarations, re.S | re.M)}
        self.classes = {}
        for match in re.finditer(r"^class (\w+) extends [^{]*\{(.*?)^\}", code, re.S | re.M):
            flags = re.finditer(r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)", match[2])
            lists = re.finditer(r"new (\w+)(?:List|Map)\(this, \"(\w+)\", (true|false)\)", match[2])
            self.classes[match[1]] = (
                {flag[1]: tuple(word == "true" for word in flag.groups()[1:]) for flag in flags},
                {found[2]: found[3] == "true" for found in lists},
                match[2],
            )

    def whole(self) -> dict:
        name = re.search(r"export declare class (\w+) extends cdktn\.Terraform(?:Resource|DataSource)", self.declarations)[1]
        return self.block(name, f"{name}Config")

    def properties(self, interface: str) -> dict[str, tuple[str, bool]]:
        """Type and whether it is a block, by Terraform's name."""
        found = {}
        body = self.interfaces.get(interface, "")
        for match in re.finditer(r"/\*\*(.*?)\*/\s*readonly '?(\w+)'?\??: (.*?);\s*(?=/\*\*|$)", body, re.S):
            link = re.search(r"#(\w+) \w+#(\w+)\}", match[1])
            kind = re.sub(r"\s+", " ", match[3]).replace(" | cdktn.IResolvable", "")
            found[link[2] if link else match[2]] = (kind, bool(re.search(r"^\s*\* \w+ block\s*$", match[1], re.M)))
        return found

    def type_of(self, text: str, is_set: bool):
        if text in TYPES:
            return TYPES[text]
        if text.endswith("[]"):
            return ["set" if is_set else "list", self.type_of(text[:-2].strip("()"), False)]
        values = re.match(r"\{ \[key: string\]: (.*?);? ?\}$", text)
        return ["map", self.type_of(values[1].strip("( )"), False)] if values else "dynamic"

    def computed_type(self, name: str, body: str, is_set: bool):
        match = re.search(r"return this\.get(\w+)Attribute\('%s'\)" % name, body)
        kinds = {
            "String": "string", "Number": "number", "Boolean": "bool", "StringMap": ["map", "string"], "NumberMap": ["map", "number"],
            "BooleanMap": ["map", "bool"], "List": ["set" if is_set else "list", "string"], "NumberList": ["list", "number"],
        }
        return kinds.get(match[1] if match else None, "dynamic")

    def block(self, class_name: str, interface: str) -> dict:
        flags, lists, body = self.classes.get(class_name, ({}, {}, ""))
        properties = self.properties(interface)
        sets = set(re.findall(r"Fn\.tolist\(this\.get(?:List|NumberList)Attribute\('(\w+)'\)\)", body))
        attributes, blocks = {}, {}
        for name, (computed, optional, required) in flags.items():
            if name not in properties:
                attributes[name] = {"type": self.computed_type(name, body, name in sets), "computed": True}
                continue
            kind, is_block = properties[name]
            marks = {word: True for word, holds in (("required", required), ("optional", optional), ("computed", computed)) if holds}
            inner = kind.removesuffix("[]")
            is_set, is_many = lists.get(name, False), kind.endswith("[]")
            if not is_block and inner not in self.interfaces:
                attributes[name] = {"type": self.type_of(kind, name in sets)} | marks
                continue
            nested = self.block(f"{inner}OutputReference", inner)
            if not is_block:
                mode = ("set" if is_set else "list") if is_many else "single"
                attributes[name] = {"nested_type": {"attributes": nested["attributes"], "nesting_mode": mode}} | marks
                continue
            mode = "single" if name == "timeouts" else "set" if is_many and is_set else "list"
            bounds = {} if is_many or mode == "single" else {"max_items": 1}
            blocks[name] = {"nesting_mode": mode, "block": nested} | bounds | ({"min_items": 1} if required else {})
        return {"attributes": attributes, "block_types": blocks}
