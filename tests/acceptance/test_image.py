"""The image of a release, assembled without an engine: what is in it, that it starts, and that the same input makes the same bytes.

The base image cannot be fetched here. Its place takes one of this machine's own glibc, libgcc and CA certificates, for both
architectures alike. skopeo, which publishes the image, reads it too.
"""

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import archive
import dockerfile
import oci
import pytest
import required

from events import event, text
from gateway import ENVIRONMENT, ROOT, binary, wait_until
from lake_gateway import free_port
from image_registry import Registry

VERSION, REVISION = "1.2.3", "0" * 40
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
ARM64 = 183


def run(*command, **environment):
    return subprocess.run([str(word) for word in command], env=ENVIRONMENT | environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def tarball(tmp_path_factory) -> Path:
    """What `make dist` packs, of the program under test."""
    required.program("strip", "the program is packed without symbols")
    packed = run(ROOT / "ops/dist", "--binary", binary(), "--out", tmp_path_factory.mktemp("dist"), **EPOCH)
    assert packed.returncode == 0, packed.stderr
    path = Path(packed.stdout.strip())
    assert "x86_64" in path.name, "these tests assemble an image for this machine"
    return path


def repacked(tarball: Path, folder: Path, change, triple="x86_64", seals=True) -> Path:
    """The tarball with other files. The program in it is a small one, so that packing takes no time."""
    with tarfile.open(tarball) as packed:
        files = {member.name.partition("/")[2]: packed.extractfile(member).read() for member in packed if member.isfile()}
    files["lakegate"] = Path(shutil.which("true")).read_bytes()
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()) if name != "SHA256SUMS")
    change(files)
    if seals:
        listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()) if name != "SHA256SUMS")
    files["SHA256SUMS"] = listed.encode()
    entries = {f"top/{name}": archive.File(data) for name, data in files.items()}
    path = folder / f"lakegate-{VERSION}-{triple}-unknown-linux-gnu.tar.gz"
    path.write_bytes(archive.gzipped(archive.tar(entries, 0), 0))
    return path


def for_arm64(files):
    """The header of a program for arm64: nothing here can build one in the time of a test."""
    program = bytearray(files["lakegate"])
    program[18:20] = ARM64.to_bytes(2, "little")
    files["lakegate"] = bytes(program)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """In place of the base image, in the layout in which skopeo writes it."""
    files = {"etc/passwd": b"nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"}
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    files |= {str(certificates)[1:]: certificates.read_bytes()} if certificates.exists() else {}
    needed = re.findall(r"(/\S+) \(0x", run("ldd", binary()).stdout)
    files |= {library[1:]: Path(library).read_bytes() for library in needed}
    packed = archive.tar({name: archive.File(data, 0o755) for name, data in files.items()}, 0)
    layout = oci.Layout(tmp_path_factory.mktemp("base") / "layout").create()
    added = layout.put(archive.gzipped(packed, 0), oci.LAYER)
    images = []
    for architecture in ("amd64", "arm64"):
        config = {
            "architecture": architecture, "os": "linux",
            "config": {"Env": ["PATH=/usr/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"], "User": "65532", "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(packed).hexdigest()}"]},
            "history": [{"created_by": "base"}],
        }
        manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": layout.put(config, oci.CONFIG), "layers": [added]}
        images.append(layout.put(manifest, oci.MANIFEST, platform={"os": "linux", "architecture": architecture}))
    layout.name(layout.put({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": images}, oci.INDEX), "base")
    return layout.folder


def assembled(base: Path, out: Path, *tarballs: Path):
    return run(ROOT / "ops/image", "--base", base, "--out", out, "--version", VERSION, "--revision", REVISION, *tarballs, **EPOCH)


@pytest.fixture(scope="module")
def layout(base, tarball, tmp_path_factory) -> oci.Layout:
    """An image for both architectures, that for this machine with the program under test."""
    folder = tmp_path_factory.mktemp("image")
    other = repacked(tarball, folder, for_arm64, "aarch64")
    made = assembled(base, folder / "layout", tarball, other)
    assert made.returncode == 0, made.stderr
    found = oci.Layout(folder / "layout")
    (named,) = json.loads((found.folder / "index.json").read_text())["manifests"]
    assert made.stdout.strip() == named["digest"] and named["annotations"] == {oci.NAME: VERSION}
    return found


def test_the_image_is_what_the_dockerfile_says(layout, base):
    image = dockerfile.Image()
    for architecture in ("amd64", "arm64"):
        manifest = layout.manifest(architecture)
        config = layout.load(manifest["config"])
        said = config["config"]
        assert (config["os"], config["architecture"]) == ("linux", architecture)
        assert said["User"] == "65532:65532" and said["Volumes"] == {"/var/lib/lakegate": {}}
        assert said["Entrypoint"] == ["/usr/bin/lakegate"] and said["Cmd"] == ["serve"] and said["StopSignal"] == "SIGTERM"
        assert said["ExposedPorts"].keys() == {"8443/tcp", "9090/tcp"}
        assert {f"{name}={value}" for name, value in image.environment().items()} < set(said["Env"])
        assert "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" in said["Env"], "what the base says stays"
        labels = {name.removeprefix("org.opencontainers.image."): value for name, value in said["Labels"].items()}
        assert (labels["version"], labels["revision"], labels["base.name"]) == (VERSION, REVISION, image.base)
        health = {"Test": ["CMD", "/usr/bin/lakegate", "health", "--live"], "Interval": 10 * 10**9, "Timeout": 6 * 10**9}
        assert said["Healthcheck"] == health | {"StartPeriod": 30 * 10**9, "Retries": 3}
        first, second = manifest["layers"]
        assert first["digest"] == oci.Layout(base).manifest(architecture)["layers"][0]["digest"]
        unpacked = gzip.decompress(layout.read(second))
        assert config["rootfs"]["diff_ids"][1] == f"sha256:{hashlib.sha256(unpacked).hexdigest()}"
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as packed:
            entries = {member.name: member for member in packed}
        schemas = {f"usr/share/lakegate/schemas/{name}" for name in archive.read_folder(ROOT / "schemas")}
        assert {name for name, entry in entries.items() if entry.isfile()} == schemas | {
            "usr/bin/lakegate", "usr/share/doc/lakegate/LICENSE"}
        assert entries["usr/bin/lakegate"].mode == 0o755
        # A new volume belongs to the user; nothing else does.
        assert {name for name, entry in entries.items() if entry.uid} == {"var/lib/lakegate"}
        assert entries["var/lib/lakegate"].isdir() and entries["var/lib/lakegate"].uid == 65532


def test_the_same_input_makes_the_same_image(base, tarball, tmp_path):
    small = [repacked(tarball, tmp_path, lambda _: None), repacked(tarball, tmp_path, for_arm64, "aarch64")]
    first, second = assembled(base, tmp_path / "1", *small), assembled(base, tmp_path / "2", *reversed(small))
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert archive.read_folder(tmp_path / "1") == archive.read_folder(tmp_path / "2")


@pytest.mark.parametrize(("change", "triple", "seals", "said"), [
    (lambda files: None, "aarch64", True, "the program is for another machine"),
    (for_arm64, "x86_64", True, "the program is for another machine"),
    (lambda files: None, "riscv64", True, "not a tarball for Linux on x86_64 or aarch64"),
    (lambda files: files.update({"lakegate": files["lakegate"] + b"\0GLIBC_2.39\0"}), "x86_64", True, "needs glibc 2.39, the image has 2.36"),
    (lambda files: files.update({"LICENSE": b"none"}), "x86_64", False, "the files are not those of SHA256SUMS"),
])
def test_a_tarball_that_makes_no_image_is_refused(base, tarball, tmp_path, change, triple, seals, said):
    refused = assembled(base, tmp_path / "out", repacked(tarball, tmp_path, change, triple, seals))
    assert refused.returncode == 1 and said in refused.stderr and "Traceback" not in refused.stderr


def test_a_base_that_is_damaged_or_for_another_machine_is_refused(base, tarball, tmp_path):
    small = repacked(tarball, tmp_path, lambda _: None)
    damaged = shutil.copytree(base, tmp_path / "damaged")
    layer = oci.Layout(base).manifest("amd64")["layers"][0]["digest"].removeprefix("sha256:")
    (damaged / "blobs/sha256" / layer).write_bytes(b"something else")
    refused = assembled(damaged, tmp_path / "1", small)
    assert refused.returncode == 1 and "is not what its name says" in refused.stderr
    # Only the image for arm64 is named.
    single = oci.Layout(shutil.copytree(base, tmp_path / "single"))
    index = single.load(json.loads((base / "index.json").read_text())["manifests"][0])
    single.name(index["manifests"][1], "base")
    refused = assembled(single.folder, tmp_path / "2", small)
    assert refused.returncode == 1 and "has no image for linux/amd64" in refused.stderr


def test_the_image_is_published_and_fetched_again_as_it_is(layout, tmp_path):
    """The command of the release, and a registry on this machine."""
    skopeo = required.program("skopeo", "Debian's package skopeo has it")
    for architecture in ("amd64", "arm64"):
        read = run(skopeo, "inspect", "--override-arch", architecture, "--config", f"oci:{layout.folder}:{VERSION}")
        assert read.returncode == 0, read.stderr
        assert json.loads(read.stdout)["architecture"] == architecture
    with Registry(tmp_path) as registry:
        place = f"docker://{registry.address}/lakegate:{VERSION}"
        pushed = run(skopeo, "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout.folder}:{VERSION}", place)
        assert pushed.returncode == 0, pushed.stderr
        raw = run(skopeo, "inspect", "--raw", "--tls-verify=false", place)
        (named,) = json.loads((layout.folder / "index.json").read_text())["manifests"]
        assert f"sha256:{hashlib.sha256(raw.stdout.encode()).hexdigest()}" == named["digest"]
        fetched = run(skopeo, "copy", "--all", "--src-tls-verify=false", place, f"oci:{tmp_path / 'fetched'}:{VERSION}")
        assert fetched.returncode == 0, fetched.stderr
    assert oci.Layout(tmp_path / "fetched").manifest("arm64") == layout.manifest("arm64")


def test_the_image_starts_from_its_root_file_system(layout, tmp_path):
    """What an engine does: the layers one over the other, the user, the environment, the command and the health check of the
    configuration. The ports are free ones."""
    required.program("chroot", "Debian's package coreutils has it")
    if os.geteuid() != 0:
        required.cannot_run("to change the root needs root")
    manifest = layout.manifest("amd64")
    config = layout.load(manifest["config"])["config"]
    root = tmp_path / "root"
    for descriptor in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(layout.read(descriptor))) as packed:
            packed.extractall(root, filter="fully_trusted", numeric_owner=True)
    # What its operator brings.
    port, admin = free_port(), free_port()
    secret = hashlib.sha256(b"secret").hexdigest()
    own = root / "etc/lakegate/lakegate.toml"
    own.parent.mkdir(parents=True)
    own.write_text(f'[http]\nplaintext = true\n[[keys]]\nname = "web"\nsecret_sha256 = "{secret}"\n')
    settings = dict(word.split("=", 1) for word in config["Env"]) | {
        "LAKEGATE_CONFIG": "/etc/lakegate/lakegate.toml",
        "LAKEGATE__HTTP__LISTEN": f"127.0.0.1:{port}",
        "LAKEGATE__ADMIN__LISTEN": f"127.0.0.1:{admin}",
    }
    tmp_path.chmod(0o755)
    inside = [shutil.which("chroot"), f"--userspec={config['User']}", str(root)]
    check = inside + config["Healthcheck"]["Test"][1:]
    log = (tmp_path / "log").open("w+")
    process = subprocess.Popen(inside + config["Entrypoint"] + config["Cmd"], env=settings, stderr=log)
    try:
        def healthy():
            assert process.poll() is None, Path(log.name).read_text()
            return subprocess.run(check, env=settings, capture_output=True, text=True).stdout == "alive\n"

        wait_until("its health check says so", 30, healthy)
        sent = subprocess.run(
            ["curl", "-sS", "-H", "X-Api-Key: secret", "--json", text(event()), f"http://127.0.0.1:{port}/v1/events"],
            env=ENVIRONMENT, capture_output=True, text=True)
        assert json.loads(sent.stdout)["accepted"] == 1, sent.stdout + sent.stderr
    finally:
        process.terminate()
        assert process.wait(40) == 0
    assert subprocess.run(check, env=settings, capture_output=True).returncode == 1
    # All that it wrote is in the volume, and it could write nowhere else.
    (volume,) = config["Volumes"]
    written = [path for path in root.rglob("*") if path.stat().st_uid == int(config["User"].split(":")[0])]
    assert written and all(path.is_relative_to(root / volume[1:]) for path in written)
