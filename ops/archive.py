"""Archives that are the same bytes for the same input: names sorted, no names of owners, one time for all."""

import gzip
import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class File:
    """A file of an archive, or a folder where `data` is None."""

    data: bytes | None
    mode: int = 0o644
    owner: int = 0


def commit_time() -> int:
    """The time of everything that is packed: that of SOURCE_DATE_EPOCH, or of the last commit."""
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    found = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return int(found.stdout) if found.returncode == 0 else 0


def tar(files: dict[str, File], time: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.mtime, entry.mode, entry.uid, entry.gid = time, file.mode, file.owner, file.owner
            if file.data is None:
                entry.type = tarfile.DIRTYPE
                packed.addfile(entry)
            else:
                entry.size = len(file.data)
                packed.addfile(entry, io.BytesIO(file.data))
    return out.getvalue()


def gzipped(data: bytes, time: int) -> bytes:
    out = io.BytesIO()
    # 9 takes three times as long, for a hundredth of the size.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=out, mtime=time) as packed:
        packed.write(data)
    return out.getvalue()


def read_folder(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their names in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
