"""`make dist`: what the tarball holds, that its checksums are right, and that the same input makes the same bytes."""

import hashlib
import json
import os
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import required
from gateway import ENVIRONMENT, ROOT, binary


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    required.program("cargo", "the SBOM is made from its metadata")
    required.program("strip", "the program is packed without symbols")

    def run(**environment) -> Path:
        out = tmp_path_factory.mktemp("dist")
        command = [ROOT / "ops/dist", "--binary", binary(), "--out", out]
        packed = subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True)
        assert packed.returncode == 0, packed.stderr
        return Path(packed.stdout.strip())

    return run


@pytest.fixture(scope="module")
def tarball(pack) -> Path:
    return pack(SOURCE_DATE_EPOCH="1700000000")


@pytest.fixture(scope="module")
def unpacked(tarball, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(tarball) as tar:
        tar.extractall(folder, filter="data")
    (top,) = folder.iterdir()
    return top


def test_the_name_says_version_and_target_and_everything_is_there(tarball, unpacked):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert unpacked.name.startswith(f"lakegate-{version}-") and tarball.name == f"{unpacked.name}.tar.gz"
    found = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    schemas = {str(path.relative_to(ROOT)) for path in (ROOT / "schemas").rglob("*") if path.is_file()}
    units = {f"systemd/{path.name}" for path in (ROOT / "ops/systemd").iterdir()}
    assert found == schemas | units | {"lakegate", "LICENSE", "lakegate.example.toml", "lakegate.cdx.json", "SHA256SUMS"}
    ran = subprocess.run([unpacked / "lakegate", "--version"], capture_output=True, text=True)
    assert ran.stdout == f"lakegate {version}\n"
    checked = [unpacked / "lakegate", "schemas", "check", "--schemas", unpacked / "schemas"]
    assert subprocess.run(checked, cwd=unpacked, capture_output=True).returncode == 0
    assert os.stat(unpacked / "lakegate").st_size < binary().stat().st_size, "it is stripped"


def test_the_checksums_are_those_of_the_files(tarball, unpacked):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=unpacked, check=True, capture_output=True)
    named = {line.split("  ")[1] for line in (unpacked / "SHA256SUMS").read_text().splitlines()}
    assert named == {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    beside = tarball.with_name(f"{tarball.name}.sha256").read_text()
    assert beside == f"{hashlib.sha256(tarball.read_bytes()).hexdigest()}  {tarball.name}\n"


def test_the_same_input_makes_the_same_bytes(pack, tarball):
    assert pack(SOURCE_DATE_EPOCH="1700000000").read_bytes() == tarball.read_bytes()
    with tarfile.open(tarball) as tar:
        entries = tar.getmembers()
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
    assert {(entry.uid, entry.gid, entry.uname, entry.mtime) for entry in entries} == {(0, 0, "", 1700000000)}
    assert {entry.mode for entry in entries if entry.name.endswith("/lakegate")} == {0o755}


def test_the_bill_of_materials_lists_what_is_built_in_and_not_what_only_tests_use(unpacked):
    bill = json.loads((unpacked / "lakegate.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "lakegate"
    components = {component["name"]: component for component in bill["components"]}
    assert {"axum", "tokio", "parquet", "rustls"} <= components.keys()
    assert not {"proptest", "json-patch"} & components.keys()
    for component in bill["components"]:
        assert len(component["hashes"][0]["content"]) == 64 and component["licenses"], component
    refs = {component["bom-ref"] for component in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    for dependency in bill["dependencies"]:
        assert dependency["ref"] in refs and set(dependency["dependsOn"]) <= refs
