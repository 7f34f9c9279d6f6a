"""From a tag to what is published: one version everywhere, the packages, the chart in a registry, and the workflows that do it.

Each command of the release that can run here is run here or in test_dist.py and test_image.py. `make reproducible` compares two
release builds.
"""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import archive
import dockerfile
import pytest
import required
import yaml

from gateway import ENVIRONMENT, ROOT, binary
from image_registry import Registry

helm = required.module("helm_python")

TOOLS = Path(sys.executable).parent
WORKFLOWS = ROOT / ".github/workflows"
IMAGE = "ghcr.io/example/lakegate"
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def run(*command, **options):
    environment = ENVIRONMENT | options.pop("environment", {})
    return subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True, **options)


@functools.cache
def version() -> str:
    return run(ROOT / "ops/version").stdout.strip()


# ---- one version -----------------------------------------------------------------------------------------------------

# Where the version is, and how often. The lock files have those of other crates too.
PLACES = {
    "Cargo.toml": 1, "Cargo.lock": 2, "fuzz/Cargo.lock": 1, "openapi.yaml": 1, "Dockerfile": 1, "js-client/package.json": 1,
    "js-client/package-lock.json": 2, "clients/python/src/lakegate/version.py": 1, "deploy/helm/lakegate/Chart.yaml": 2,
}


@pytest.fixture
def places(tmp_path) -> Path:
    """Copies of the files that have the version."""
    for name in [*PLACES, "CHANGELOG.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_everything_that_is_released_has_the_version_of_the_program(tmp_path):
    checked = run(ROOT / "ops/version", "check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    assert run(binary(), "--version").stdout == f"lakegate {version()}\n"
    contract = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    chart = yaml.safe_load((ROOT / "deploy/helm/lakegate/Chart.yaml").read_text())
    assert [contract["info"]["version"], chart["version"], chart["appVersion"]] == [version()] * 3
    assert dockerfile.Image().labels({})["org.opencontainers.image.version"] == version()
    # No page tells readers a version that the next release would make wrong, but where it is history.
    history = {"formats.md"}
    named = [page.name for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if f"-{version()}" in page.read_text()]
    assert set(named) <= history


def test_one_command_writes_the_next_version_everywhere_and_nothing_else(places):
    before = {name: (places / name).read_text() for name in PLACES}
    done = run(ROOT / "ops/version", "--root", places, "set", "7.8.9")
    assert (done.returncode, done.stdout) == (0, "7.8.9\n"), done.stderr
    for name, times in PLACES.items():
        after = (places / name).read_text()
        changed = [(old, new) for old, new in zip(before[name].splitlines(), after.splitlines(), strict=True) if old != new]
        assert len(changed) == times, name
        assert all(old.replace(version(), "7.8.9") == new for old, new in changed), changed
    assert run(ROOT / "ops/version", "--root", places, "set", "7.8").returncode != 0


@pytest.mark.parametrize("name", [name for name in PLACES if name != "Cargo.toml"])
def test_a_place_that_was_forgotten_is_named(places, name):
    file = places / name
    run(ROOT / "ops/version", "--root", places, "set", "7.8.9")
    file.write_text(file.read_text().replace("7.8.9", "7.8.8", 1))
    checked = run(ROOT / "ops/version", "--root", places, "check")
    assert (checked.returncode, checked.stderr) == (1, f"{name}: 7.8.8, not 7.8.9\n")
    file.write_text("")
    checked = run(ROOT / "ops/version", "--root", places, "check")
    assert checked.returncode == 1 and checked.stderr == f"{name}: {PLACES[name]} versions expected, 0 found\n"


def test_a_tag_needs_its_version_and_a_section_of_the_changelog(places):
    def check(tag):
        return run(ROOT / "ops/version", "--root", places, "check", "--tag", tag)

    assert check(f"v{version()}").returncode == 0
    assert check("v9.9.9").stderr == f"the tag is v9.9.9, not v{version()}\n"
    run(ROOT / "ops/version", "--root", places, "set", "9.9.9")
    assert check("v9.9.9").stderr == "CHANGELOG.md: no section [9.9.9]\n"
    assert run(ROOT / "ops/version", "--root", places, "notes").returncode != 0
    changes = places / "CHANGELOG.md"
    changes.write_text(changes.read_text().replace("## [Unreleased]", "## [Unreleased]\n\n## [9.9.9] - 2026-12-01\n\nA change.\n", 1))
    assert check("v9.9.9").returncode == 0
    assert run(ROOT / "ops/version", "--root", places, "notes").stdout.startswith("A change.\n")


# ---- packages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """What `make packages` makes here."""
    required.program("npm", "the package for browsers and Node is packed with it")
    out = tmp_path_factory.mktemp("packages")
    made = run("make", "packages", f"OUT={out}", f"IMAGE={IMAGE}", cwd=ROOT, environment=EPOCH)
    assert made.returncode == 0, made.stdout + made.stderr
    return out


def test_the_packages_are_those_of_the_release(packages):
    found = sorted(str(path.relative_to(packages)) for path in packages.rglob("*") if path.is_file())
    assert found == [f"chart/lakegate-{version()}.tgz", f"npm/lakegate-{version()}.tgz",
                     f"python/lakegate-{version()}-py3-none-any.whl", f"python/lakegate-{version()}.tar.gz"]
    with tarfile.open(packages / found[1]) as packed:
        manifest = json.load(packed.extractfile("package/package.json"))
    assert (manifest["name"], manifest["version"]) == ("lakegate", version())
    with zipfile.ZipFile(packages / found[2]) as wheel:
        said = wheel.read(f"lakegate-{version()}.dist-info/METADATA").decode()
        assert "lakegate/py.typed" in wheel.namelist()
    assert f"\nVersion: {version()}\n" in said


def test_the_same_source_makes_the_same_packages_in_another_folder(packages, tmp_path):
    """A copy of the checkout, each file with another time."""
    copy, out = tmp_path / "a-copy-of-the-checkout", tmp_path / "out"
    tracked = run("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "loadtest/", "src/")):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
            shutil.copymode(ROOT / name, copy / name)
            os.utime(copy / name, (10**9, 10**9))
    # What `make` would fetch and build anew.
    for name in (".venv", "js-client/node_modules"):
        (copy / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "js-client/dist", copy / "js-client/dist")
    (copy / "tests/acceptance").mkdir(parents=True)
    for name in ("tests/acceptance/requirements.txt", "tests/acceptance/unpack-servers"):
        shutil.copyfile(ROOT / name, copy / name)
        os.utime(copy / name, (10**9, 10**9))
    made = run("make", "packages", f"OUT={out}", f"IMAGE={IMAGE}", cwd=copy, environment=EPOCH)
    assert made.returncode == 0, made.stdout + made.stderr
    first, second = archive.read_folder(packages), archive.read_folder(out)
    assert first.keys() == second.keys() and len(first) == 4
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize(("command", "says"), [
    (("chart", "--out", "out", "--image", "ghcr.io/example/lakegate:1"), "is not the repository of an image"),
    (("page", "--out", "out", "nothing.tar.gz"), "page: "),
    (("dist", "--binary", "nothing", "--out", "out"), "dist: "),
    (("image", "--base", "base", "--out", "out", "--version", "1.0.0", "nothing.tar.gz"), "nothing.tar.gz"),
    (("two-builds", "--help"), "takes no arguments"),
])
def test_a_command_of_the_release_says_in_one_line_what_is_wrong(tmp_path, command, says):
    done = run(ROOT / "ops" / command[0], *command[1:], cwd=tmp_path)
    assert done.returncode and says in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not [file for file in tmp_path.rglob("*") if file.suffix in (".tgz", ".gz")]


def test_the_chart_is_one_that_helm_takes_and_runs_the_image_of_the_release(packages, tmp_path):
    packed = packages / f"chart/lakegate-{version()}.tgz"
    least = {"keysSecret": "keys", "tls": {"plaintext": True}}
    with helm.Chart.load(packed) as chart:
        assert (chart.name, chart.version) == ("lakegate", version())
        rendered = chart.render(least, name="gate", namespace="events")
        assert not [file for file in chart.files if file["name"].startswith("ci/")]
    assert f'image: "{IMAGE}:{version()}"' in rendered["lakegate/templates/statefulset.yaml"]
    assert not helm.lint(packed, least, strict=True)["errors"]
    # What Helm packs itself is the same chart; only times differ.
    own = Path(helm.package(ROOT / "deploy/helm/lakegate", destination=tmp_path))
    assert own.name == packed.name

    def names(path: Path) -> set[str]:
        with tarfile.open(path) as tar:
            return {member.name for member in tar if member.isfile()}

    assert names(packed) == names(own) - {"lakegate/.helmignore"} | {"lakegate/LICENSE"}


def test_the_chart_is_published_and_fetched_again_as_it_is(packages, tmp_path):
    packed = packages / f"chart/lakegate-{version()}.tgz"
    with Registry(tmp_path) as registry:
        helm.push(packed, f"oci://{registry.address}/charts", plain_http=True)
        helm.pull(f"oci://{registry.address}/charts/lakegate", version=version(), destination=tmp_path, plain_http=True)
    assert (tmp_path / packed.name).read_bytes() == packed.read_bytes()


def test_the_page_has_the_programs_their_bills_of_materials_and_checksums(tmp_path):
    tarballs = []
    for target in ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"):
        tarballs.append(tmp_path / f"lakegate-1.2.3-{target}.tar.gz")
        files = {f"top/{name}": archive.File(target.encode()) for name in ("lakegate", "lakegate.cdx.json")}
        tarballs[-1].write_bytes(archive.gzipped(archive.tar(files, 0), 0))
    gathered = run(ROOT / "ops/page", "--out", tmp_path / "page", *tarballs)
    assert gathered.returncode == 0, gathered.stderr
    page = archive.read_folder(tmp_path / "page")
    assert page.keys() == {"SHA256SUMS"} | {tarball.name for tarball in tarballs} | {
        tarball.name.replace(".tar.gz", ".cdx.json") for tarball in tarballs}
    assert page["lakegate-1.2.3-aarch64-unknown-linux-gnu.cdx.json"] == b"aarch64-unknown-linux-gnu"
    checked = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=tmp_path / "page")
    assert checked.returncode == 0 and len(checked.stdout.splitlines()) == 4


# ---- the workflows ---------------------------------------------------------------------------------------------------


def workflow(name: str) -> dict:
    return yaml.safe_load((WORKFLOWS / name).read_text())


def jobs() -> dict[str, dict]:
    return {f"{path.stem}.{name}": job for path in sorted(WORKFLOWS.glob("*.yml")) for name, job in workflow(path.name)["jobs"].items()}


def steps(job: dict) -> str:
    """All that a job runs."""
    return "\n".join(step.get("run", "") for step in job.get("steps", []))


def test_the_workflows_are_clean(tmp_path):
    linted = run(TOOLS / "actionlint", "-no-color", *WORKFLOWS.glob("*.yml"))
    assert (linted.returncode, linted.stdout) == (0, ""), linted.stdout
    # Security: pins, permissions, injected text, caches.
    audited = run(TOOLS / "zizmor", "--offline", "--no-progress", "--min-severity", "medium", WORKFLOWS)
    assert audited.returncode == 0, audited.stdout
    # Both find what is wrong.
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    text = (WORKFLOWS / "release.yml").read_text()
    (folder / "release.yml").write_text(text.replace("needs: [test, program]", "needs: [test, programs]"))
    assert "programs" in run(TOOLS / "actionlint", "-no-color", folder / "release.yml").stdout
    (folder / "release.yml").write_text(text.replace('"$GITHUB_REF_NAME"', '"${{ github.ref_name }}"'))
    found = run(TOOLS / "zizmor", "--offline", "--no-progress", "--min-severity", "medium", folder)
    assert found.returncode != 0 and "template-injection" in found.stdout


def test_ci_runs_the_same_command_as_everybody_and_a_release_waits_for_it():
    ci, release = workflow("ci.yml"), workflow("release.yml")
    assert ".ci/run" in steps(ci["jobs"]["test"]) and "\nmake test\n" in (ROOT / ".ci/run").read_text()
    assert release["jobs"]["test"]["uses"] == "./.github/workflows/ci.yml"
    # YAML reads `on` as true.
    assert release[True] == {"push": {"tags": ["v*"]}} and "workflow_call" in ci[True]

    def waits_for(name: str) -> set[str]:
        needs = release["jobs"][name].get("needs", [])
        direct = {needs} if isinstance(needs, str) else set(needs)
        return direct.union(*(waits_for(other) for other in direct))

    for name in ("image-and-chart", "npm", "pypi", "page"):
        assert {"version", "test", "program", "assemble"} <= waits_for(name), name
    # The page, which tells people of the release, is last.
    assert waits_for("page") == release["jobs"].keys() - {"page"}


def test_a_job_may_do_only_what_it_is_for():
    for path in WORKFLOWS.glob("*.yml"):
        assert workflow(path.name)["permissions"] == {}, path.name
    writes = {name: {right for right, level in job["permissions"].items() if level == "write"} for name, job in jobs().items()}
    proof = {"id-token", "attestations"}
    assert {name: rights for name, rights in writes.items() if rights} == {
        "release.image-and-chart": {"packages"} | proof,
        "release.npm": {"id-token"},
        "release.pypi": {"id-token"},
        "release.page": {"contents"} | proof,
    }
    # Who may publish runs nothing of the repository's own but what reads: what is published was made in `assemble`.
    for name, rights in writes.items():
        if rights:
            assert not re.search(r"\bmake\b|ops/(?!version notes)|npm (ci|install)", steps(jobs()[name])), name


def test_every_action_is_pinned_and_every_image_is_that_of_the_dockerfile():
    built_in = dict(dockerfile.stages()[0])["FROM"].split()[0]
    for path in WORKFLOWS.glob("*.yml"):
        for used in re.findall(r"uses: (.+)", path.read_text()):
            assert used.startswith("./") or re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", used), used
    images = {name: job["container"]["image"] for name, job in jobs().items() if "container" in job}
    assert images.keys() == {"ci.test", "ci.arm64", "release.program"} and set(images.values()) == {built_in}


def test_what_the_workflows_call_is_there():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = "\n".join(steps(job) for job in jobs().values())
    made = re.findall(r"\bmake (?:-C \S+ )?([a-z0-9-]+)", called)
    assert set(made) == {"dist", "packages"} and set(made) <= targets
    programs = set(re.findall(r"(?:^|[\s(])((?:\.ci|ops)/[\w.-]+)", called))
    assert programs == {".ci/run", "ops/version", "ops/dockerfile.py", "ops/image", "ops/page"}
    for program in programs - {"ops/dockerfile.py"}:
        assert os.access(ROOT / program, os.X_OK), program
    for words in (["ops/version", "check"], ["ops/image"], ["ops/page"]):
        lines = [line for line in called.splitlines() if " ".join(words) in line]
        options = {option for line in lines for option in re.findall(r" (--[\w-]+)", line.partition(" ".join(words))[2])}
        helped = run(ROOT / words[0], *words[1:], "--help").stdout
        assert lines and options and all(option in helped for option in options), words
    assert run(sys.executable, ROOT / "ops/dockerfile.py").stdout.strip() == dockerfile.Image().base
    # Both architectures are built twice, on machines of their own.
    matrix = workflow("release.yml")["jobs"]["program"]["strategy"]["matrix"]
    assert matrix == {"runner": ["ubuntu-24.04", "ubuntu-24.04-arm"], "round": ["one", "two"]}
    assert "diff --recursive rounds/one rounds/two" in called
