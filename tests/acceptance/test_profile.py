"""The profile that guides a release's build (`ops/pgo`): the build uses it, and rustc can read it. No release is built here."""

import gzip
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import build_release
import pytest
import required
from gateway import ROOT

PROFILES = sorted((ROOT / "ops/pgo").glob("*.profdata.gz"))
VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def rustc(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(["rustc", *arguments], capture_output=True, text=True)


def compiled(folder: Path, *flags: str) -> subprocess.CompletedProcess:
    """A small program, compiled."""
    (folder / "small.rs").write_text('fn main() { println!("{}", std::env::args().count()); }\n')
    return rustc("-O", *flags, "-o", folder / "small", folder / "small.rs")


@pytest.fixture(scope="module")
def host() -> str:
    required.program("rustc", "it reads the profile")
    return re.search("^host: (.*)$", rustc("-vV").stdout, re.MULTILINE)[1]


@pytest.fixture
def checkout(host, tmp_path) -> Path:
    """What `ops/build-release` needs of one, with a profile for this machine: of another program, which is as good here."""
    root = tmp_path / "checkout"
    (root / "ops/pgo").mkdir(parents=True)
    shutil.copy(ROOT / "ops/build-release", root / "ops")
    shutil.copy(ROOT / "Cargo.toml", root)
    shutil.copy(Path(__file__).with_name("small.profdata.gz"), root / f"ops/pgo/{host}.profdata.gz")
    (root / f"ops/pgo/{host}.txt").write_text(f"for: lakegate {VERSION}, {rustc('-V').stdout}")
    return root


def test_a_release_is_built_by_the_profile_and_rustc_reads_it(checkout, host, tmp_path):
    asked = build_release.run(checkout, tmp_path)
    assert asked.profile is not None and asked.said == "", asked.said
    # The name of a function in the profile has the target in it.
    assert asked.arguments[asked.arguments.index("--target") + 1] == host and "--release" in asked.arguments
    done = compiled(tmp_path, *asked.flags)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    asked.profile.write_bytes(asked.profile.read_bytes()[:16])
    assert "truncated profile data" in compiled(tmp_path, *asked.flags).stderr, "rustc looks into it"


def test_another_profile_has_another_name_so_that_cargo_builds_again(checkout, host, tmp_path):
    before = build_release.run(checkout, tmp_path).profile
    packed = checkout / f"ops/pgo/{host}.profdata.gz"
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()), compresslevel=1))
    assert build_release.run(checkout, tmp_path).profile not in (None, before)


def test_without_a_profile_the_build_is_a_plain_one_and_says_why(checkout, host, tmp_path):
    # Asked for, it says nothing.
    asked = build_release.run(checkout, tmp_path, PGO="0")
    assert asked.profile is None and "--release" in asked.arguments and asked.said == ""
    packed = checkout / f"ops/pgo/{host}.profdata.gz"
    for content in (packed.read_bytes()[:200], gzip.compress(b"no profile")):
        packed.write_bytes(content)
        asked = build_release.run(checkout, tmp_path)
        assert asked.profile is None and "cannot be used: a plain build" in asked.said, asked.said
    packed.unlink()
    asked = build_release.run(checkout, tmp_path)
    assert asked.profile is None and f"no profile for {host}: a plain build" in asked.said, asked.said


def test_a_profile_of_another_compiler_or_version_is_used_and_the_build_says_that_it_fits_hardly(checkout, host, tmp_path):
    for made in (f"lakegate 0.0.1, {rustc('-V').stdout.strip()}", f"lakegate {VERSION}, rustc 1.2.3 (abc 2020-01-01)"):
        (checkout / f"ops/pgo/{host}.txt").write_text(f"for: {made}\n")
        asked = build_release.run(checkout, tmp_path)
        assert asked.profile is not None and f"made for {made}" in asked.said and "make profile" in asked.said, asked.said


@pytest.mark.parametrize("packed", PROFILES, ids=lambda packed: packed.name.partition(".")[0])
def test_the_profile_of_the_repository_was_made_for_the_releases_and_knows_the_gateway(packed, tmp_path):
    """Another version of either gives other names to functions: the build would find none of them in the profile."""
    said = packed.with_name(packed.name.replace(".profdata.gz", ".txt")).read_text()
    version, compiler = re.search(r"^for: lakegate (\S+), rustc (\d+\.\d+)\.", said, re.MULTILINE).groups()
    images = re.findall(r"rust:(\d+\.\d+)-", (ROOT / "Dockerfile").read_text() + (ROOT / ".github/workflows/release.yml").read_text())
    assert version == VERSION and len(images) >= 2 and set(images) == {compiler}, "make profile"
    features = re.search(r'^ARG FEATURES="(.*)"$', (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    assert f"features: {features}\n" in said
    assert packed.stat().st_size < 5_000_000, "it is in the repository"
    unpacked = tmp_path / "unpacked.profdata"
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    names = re.findall(rb"_R[A-Za-z0-9_.]+|_ZN[A-Za-z0-9_.$]+", unpacked.read_bytes())
    for part in (b"8lakegate", b"hyper", b"rustls", b"parquet"):
        assert any(part in name for name in names), part
    required.program("rustc", "it reads the profile")
    done = compiled(tmp_path, f"-Cprofile-use={unpacked}")
    assert done.returncode == 0 and done.stderr == "", done.stderr
