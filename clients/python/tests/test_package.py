"""What is shipped: the wheel and the sdist that `make python` built, their types, and the examples of the README."""

import asyncio
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
from conftest import PACKAGE, ROOT
from gateway import binary, wait_until
from lessons import in_lake

import lakegate

DIST = PACKAGE / "dist"
README = (PACKAGE / "README.md").read_text()
SUPPORTED = ("3.9", "3.10", "3.11", "3.12", "3.13")
# A block of Python, and what it prints, if that is shown.
EXAMPLES = re.findall(r"^```python\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", README, re.MULTILINE | re.DOTALL)


def python(version: str) -> "tuple[str, dict] | None":
    """The Python of a version that this machine has, and the environment that chooses it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYENV_VERSION": version}
    if sys.version.startswith(f"{version}."):
        return sys.executable, environment
    program = shutil.which(f"python{version}")
    works = program and subprocess.run([program, "-c", ""], env=environment, capture_output=True).returncode == 0
    return (program, environment) if program and works else None


HERE = {version: found for version in SUPPORTED if (found := python(version))}


def wheel() -> Path:
    (file,) = DIST.glob(f"lakegate-{lakegate.__version__}-py3-none-any.whl")
    return file


def test_wheel_and_sdist_hold_just_what_is_needed():
    sources = {file.name for file in (PACKAGE / "src/lakegate").iterdir() if file.is_file()}
    assert "py.typed" in sources
    with zipfile.ZipFile(wheel()) as archive:
        names, info = archive.namelist(), f"lakegate-{lakegate.__version__}.dist-info"
        assert set(names) == {f"lakegate/{name}" for name in sources} | {
            f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")}
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "Requires-Dist" not in metadata, "the standard library only"
    assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.9" in metadata and "# lakegate" in metadata
    (sdist,) = DIST.glob(f"lakegate-{lakegate.__version__}.tar.gz")
    with tarfile.open(sdist) as archive:
        top = f"lakegate-{lakegate.__version__}"
        rest = {f"{top}/{name}" for name in ("README.md", "LICENSE", "pyproject.toml", "PKG-INFO", ".gitignore")}
        assert set(archive.getnames()) - rest == {f"{top}/src/lakegate/{name}" for name in sources}


def test_the_version_is_the_gateways_and_the_licence_its_licence():
    assert f'version = "{lakegate.__version__}"' in (ROOT / "Cargo.toml").read_text()
    assert (PACKAGE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def every_version(gateway, tmp_path, program, environment) -> str:
    # Python 3.12 and later warn of a fork in a process with threads, which the program does on purpose.
    command = [program, "-W", "error", "-W", "ignore:This process:DeprecationWarning", PACKAGE / "tests/every_version.py"]
    command += [gateway.url, gateway.certificate, tmp_path / "queue"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_can_be_installed_into_a_clean_environment(gateway, tmp_path):
    program, environment = HERE[f"{sys.version_info[0]}.{sys.version_info[1]}"]
    subprocess.run([program, "-m", "venv", tmp_path / "venv"], env=environment, check=True)
    installed = tmp_path / "venv/bin/python"
    subprocess.run([installed, "-m", "pip", "install", "--quiet", "--no-index", wheel()], env=environment, check=True)
    assert every_version(gateway, tmp_path, installed, environment).startswith(f"ok {lakegate.__version__} ")


@pytest.mark.parametrize("version", HERE)
def test_the_wheel_works_in_each_python_of_this_machine(gateway, tmp_path, version):
    """Straight from the wheel: it is a zip, and Python imports from it."""
    program, environment = HERE[version]
    printed = every_version(gateway, tmp_path, program, environment | {"PYTHONPATH": str(wheel())})
    assert printed == f"ok {lakegate.__version__} {version}\n"


def odd_types(tmp_path: Path) -> Path:
    """Types of a registry whose fields and events have names that Python uses otherwise, with every kind of schema."""
    schemas = tmp_path / "schemas"
    shutil.copytree(ROOT / "schemas/common", schemas / "common")
    names = ("from", "a-b", "class", "str", "self", "name", "fields", "__x")
    properties: dict = {name: {"type": "string", "description": 'Say """so""" \\ now.'} for name in names} | {
        "deep": {"type": "object", "properties": {
            "in": {"type": ["integer", "null"]}, "list": {"type": "array", "items": {"enum": ["x\ny", 1]}}}},
        "any": {}, "map": {"type": "object", "additionalProperties": {"type": "number"}}, "ratio": {"enum": [0.5, 1]},
    }
    for name in ("import:None:3d", "a:b_c", "a:b:c", "plain"):
        file = schemas / name.replace(":", "/") / "1.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        own = {"deep": properties["deep"] | {"properties": {"list": {"type": "string"}}}} if name == "plain" else properties
        document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, "description": "It's.",
                    "allOf": [{"$ref": "/common/envelope.json"}], "properties": own, "required": list(own)[:1]}
        file.write_text(json.dumps(document))
    out = tmp_path / "odd.py"
    subprocess.run([binary(), "schemas", "export", "--format", "python", "--schemas", schemas, "--out", out], check=True, cwd=tmp_path)
    return out


@pytest.mark.parametrize(("tool", "options"), [
    ("mypy", ("--strict", "--no-error-summary", "--python-version", "3.10", "--cache-dir", os.devnull)),
    # mypy has left 3.9 behind.
    ("pyright", ("--pythonversion", "3.9", "--pythonpath", sys.executable)),
], ids=["mypy", "pyright"])
def test_package_and_generated_types_pass_the_checker_and_wrong_fields_do_not(tool, options, tmp_path):
    """One run, because starting the checker is what takes long."""
    typed, odd = PACKAGE / "tests/typed", odd_types(tmp_path)
    files = [PACKAGE / "src/lakegate", typed / "events.py", typed / "good.py", typed / "bad.py", odd]
    environment = os.environ | {"MYPYPATH": str(PACKAGE / "src")}
    done = subprocess.run([sys.executable, "-m", tool, *options, *files], cwd=typed, env=environment, capture_output=True, text=True, timeout=300)
    errors = [line for line in done.stdout.splitlines() if re.search(r"\berror\b(?!s)", line)]
    lines = [re.search(r"bad\.py:(\d+)", line) for line in errors]
    assert all(lines), done.stdout + done.stderr
    marked = [number for number, line in enumerate((typed / "bad.py").read_text().splitlines(), 1) if line.endswith("# wrong")]
    assert sorted({int(match[1]) for match in lines if match}) == marked and len(marked) == 8, done.stdout


def test_generated_types_can_be_imported_by_each_python(tmp_path):
    odd_types(tmp_path)
    for program, environment in HERE.values():
        path = os.pathsep.join(map(str, (wheel(), tmp_path, PACKAGE / "tests/typed")))
        subprocess.run([program, "-W", "error", "-c", "import odd, events"], env=environment | {"PYTHONPATH": path}, check=True)


@pytest.mark.parametrize(("source", "output"), EXAMPLES, ids=range(1, len(EXAMPLES) + 1))
def test_each_example_of_the_readme_does_what_it_says(gateway, tmp_path, source, output):
    assert "https://events.example.com" in source and 'key="…"' in source
    shutil.copy(PACKAGE / "tests/typed/events.py", tmp_path / "shop_events.py")
    program = source.replace("https://events.example.com", gateway.url).replace("…", "dev").replace("/var/lib/shop", str(tmp_path))
    if "lifespan" in source:
        program += """
import asyncio, types
async def main():
    app = types.SimpleNamespace(state=types.SimpleNamespace())
    async with lifespan(app):
        await start_lesson(types.SimpleNamespace(app=app))
asyncio.run(main())
"""
    environment = os.environ | {"SSL_CERT_FILE": str(gateway.certificate)}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == output, done.stderr
    # What is tracked arrives; but the one that shows a rejection.
    assert len(in_lake_soon(gateway, 0 if "Maria" in source else 1)) == (0 if "Maria" in source else 1)


def in_lake_soon(gateway, count: int) -> list:
    wait_until(f"{count} in the lake", 20, lambda: len(in_lake(gateway)) >= count)
    return in_lake(gateway)


def test_every_option_of_the_client_is_in_the_readme():
    options = [name for name in inspect.signature(lakegate.Client).parameters if name not in ("url", "key")]
    assert [name for name in options if f"`{name}`" not in README] == []
    methods = [name for name, value in vars(lakegate.Client).items() if isinstance(value, types.FunctionType) and not name.startswith("_")]
    assert [name for name in methods if name not in README] == []
    assert asyncio.iscoroutinefunction(lakegate.Client.aflush)
