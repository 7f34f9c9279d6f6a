#!/usr/bin/env python3
"""Prints the software bill of materials of the gateway: CycloneDX 1.5 in JSON, from `cargo metadata` and Cargo.lock.

It lists the crates that are built into the program or run while it is built, and no crate that only the tests use. The output is
the same for the same Cargo.lock, features and target.
"""

import argparse
import json
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "lakegate"


def metadata(target: str, features: str) -> dict:
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    command += ["--features", features] if features else []
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def used_packages(resolved: dict, root: str) -> dict[str, list[str]]:
    """The packages that `root` needs, directly or not, each with those that it needs itself."""
    nodes = {node["id"]: node for node in resolved["nodes"]}
    used, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in used:
            continue
        is_for_users = lambda dependency: any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])  # noqa: E731
        used[package] = [dependency["pkg"] for dependency in nodes[package]["deps"] if is_for_users(dependency)]
        waiting += used[package]
    return used


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package: dict, checksums: dict) -> dict:
    described = {
        "type": "application" if package["name"] == PROGRAM else "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["license"]:
        # An old spelling of OR that crates still have.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def bill_of_materials(target: str, features: str = "") -> dict:
    found = metadata(target, features)
    packages = {package["id"]: package for package in found["packages"]}
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in locked}
    root = next(id for id, package in packages.items() if package["name"] == PROGRAM)
    used = used_packages(found["resolve"], root)
    in_order = sorted(used, key=lambda id: purl(packages[id]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], checksums)},
        "components": [component(packages[id], checksums) for id in in_order if id != root],
        "dependencies": [{"ref": purl(packages[id]), "dependsOn": sorted({purl(packages[other]) for other in used[id]})} for id in in_order],
    }


def host() -> str:
    """The target that rustc builds for where none is named."""
    said = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return next(line.removeprefix("host: ") for line in said.splitlines() if line.startswith("host: "))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", help="target triple of the program [default: that of this machine]")
    parser.add_argument("--features", default="", help="features that the program was built with")
    options = parser.parse_args()
    print(json.dumps(bill_of_materials(options.target or host(), options.features), indent=1))
