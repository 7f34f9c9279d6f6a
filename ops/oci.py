"""A folder in the OCI image layout: content by its SHA-256, and an index that names what is in it."""

import hashlib
import json
from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
# What Docker calls the first two: a base may be written so.
INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
NAME = "org.opencontainers.image.ref.name"


class Damaged(Exception):
    """Content that is not what its digest says, or not there."""


class Layout:
    def __init__(self, folder: Path):
        self.folder = folder
        self.blobs = folder / "blobs/sha256"

    def create(self) -> "Layout":
        self.blobs.mkdir(parents=True)
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return self

    def put(self, content: bytes | dict, media_type: str, **more) -> dict:
        """Keeps content, and returns its descriptor."""
        data = content if isinstance(content, bytes) else json.dumps(content, sort_keys=True).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)} | more

    def read(self, descriptor: dict) -> bytes:
        """Content, which is what its digest says."""
        algorithm, _, digest = descriptor["digest"].partition(":")
        path = self.blobs / digest
        if algorithm != "sha256" or not path.is_file():
            raise Damaged(f"{descriptor['digest']} is not in {self.folder}")
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise Damaged(f"{path} is not what its name says")
        return data

    def load(self, descriptor: dict) -> dict:
        return json.loads(self.read(descriptor))

    def name(self, descriptor: dict, name: str) -> None:
        """Makes content the one thing that the layout is for."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor | {"annotations": {NAME: name}}]}
        (self.folder / "index.json").write_text(json.dumps(index, sort_keys=True))

    def manifest(self, architecture: str) -> dict:
        """The manifest for an architecture of Linux."""
        return self._find(json.loads((self.folder / "index.json").read_text()), architecture) or self._missing(architecture)

    def _find(self, index: dict, architecture: str) -> dict | None:
        for descriptor in index["manifests"]:
            if descriptor["mediaType"] in INDEXES:
                if found := self._find(self.load(descriptor), architecture):
                    return found
                continue
            manifest = self.load(descriptor)
            config = self.load(manifest["config"])
            if (config.get("os"), config.get("architecture")) == ("linux", architecture):
                return manifest
        return None

    def _missing(self, architecture: str):
        raise Damaged(f"{self.folder} has no image for linux/{architecture}")
