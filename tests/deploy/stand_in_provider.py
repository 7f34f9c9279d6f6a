"""A stand-in for the provider hashicorp/aws: its real schema, and a Plan and an Apply of our own.

Terraform reaches it through TF_REATTACH_PROVIDERS. Types that `ministack_resources.py` knows are made on MiniStack; all others are
only remembered in the state, with made-up ids, so that what refers to them can be planned and applied.
"""

from __future__ import annotations

import json
import os
import uuid
from concurrent import futures
from pathlib import Path

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as protocol
from tf.gen import tfplugin_pb2_grpc as services

UNKNOWN = msgpack.ExtType(0, b"\0")
ACCOUNT = "000000000000"
MESSAGE_BYTES_MAX = 64 << 20

BLOCKS = protocol.Schema.NestedBlock
OBJECTS = protocol.Schema.Object
BLOCK_MODES = {"single": BLOCKS.SINGLE, "list": BLOCKS.LIST, "set": BLOCKS.SET, "map": BLOCKS.MAP, "group": BLOCKS.GROUP}
OBJECT_MODES = {"single": OBJECTS.SINGLE, "list": OBJECTS.LIST, "set": OBJECTS.SET, "map": OBJECTS.MAP}

TEXT = {"type": "string", "optional": True}
TAGS = {"nesting_mode": "list", "max_items": 1, "block": {"attributes": {"tags": {"type": ["map", "string"], "optional": True}}}}
PROVIDER = {"attributes": {"region": TEXT, "profile": TEXT}, "block_types": {"default_tags": TAGS}}


def attribute(name: str, about: dict):
    made = protocol.Schema.Attribute(name=name, **{word: about.get(word, False) for word in ("required", "optional", "computed")})
    if "nested_type" in about:
        made.nested_type.nesting = OBJECT_MODES[about["nested_type"]["nesting_mode"]]
        made.nested_type.attributes.extend(attribute(*found) for found in about["nested_type"]["attributes"].items())
    else:
        made.type = json.dumps(about["type"]).encode()
    return made


def block(about: dict):
    made = protocol.Schema.Block(version=0)
    made.attributes.extend(attribute(*found) for found in about.get("attributes", {}).items())
    for name, nested in about.get("block_types", {}).items():
        bounds = {"min_items": nested.get("min_items", 0), "max_items": nested.get("max_items", 0)}
        mode = BLOCK_MODES[nested["nesting_mode"]]
        made.block_types.append(BLOCKS(type_name=name, block=block(nested["block"]), nesting=mode, **bounds))
    return made


def schema(about: dict):
    return protocol.Schema(version=0, block=block(about))


def unpacked(value):
    if value.msgpack:
        return msgpack.unpackb(value.msgpack, raw=False, strict_map_key=False)
    return json.loads(value.json) if value.json else None


def packed(value):
    return protocol.DynamicValue(msgpack=msgpack.packb(value))


def without_unknown(value):
    if isinstance(value, msgpack.ExtType):
        return None
    if isinstance(value, dict):
        return {name: without_unknown(inner) for name, inner in value.items()}
    return [without_unknown(inner) for inner in value] if isinstance(value, list) else value


def filled(about: dict, value, make):
    """The value, with `make(name, attribute)` for each computed attribute that has none."""
    if value is None:
        return None
    value = dict(value)
    for name, found in about.get("attributes", {}).items():
        if value.get(name) is None and found.get("computed"):
            value[name] = make(name, found)
    for name, nested in about.get("block_types", {}).items():
        inner = value.get(name)
        if isinstance(inner, list):
            value[name] = [filled(nested["block"], one, make) for one in inner]
        elif isinstance(inner, dict):
            value[name] = filled(nested["block"], inner, make)
    return value


def policy_document(config: dict) -> str:
    """What the data source aws_iam_policy_document makes."""
    statements = []
    for given in config.get("statement") or []:
        made = {"Effect": given.get("effect") or "Allow"}
        if given.get("sid"):
            made["Sid"] = given["sid"]
        for name, key in (("actions", "Action"), ("not_actions", "NotAction"), ("resources", "Resource"), ("not_resources", "NotResource")):
            if given.get(name):
                made[key] = sorted(given[name])
        for principal in given.get("principals") or []:
            made.setdefault("Principal", {})[principal["type"]] = sorted(principal["identifiers"])
        for condition in given.get("condition") or []:
            made.setdefault("Condition", {}).setdefault(condition["test"], {})[condition["variable"]] = condition["values"]
        statements.append(made)
    return json.dumps({"Version": config.get("version") or "2012-10-17", "Statement": statements})


class StandIn(services.ProviderServicer):
    """The provider. `cloud` makes and deletes what it knows; None only plans and remembers."""

    def __init__(self, schemas: dict, cloud=None):
        self.resources, self.data = schemas["resource_schemas"], schemas["data_source_schemas"]
        self.cloud, self.region = cloud, "eu-west-1"

    def capabilities(self):
        return protocol.ServerCapabilities(plan_destroy=False, get_provider_schema_optional=False)

    def GetMetadata(self, request, context):
        names = protocol.GetMetadata
        return names.Response(
            server_capabilities=self.capabilities(),
            resources=[names.ResourceMetadata(type_name=name) for name in self.resources],
            data_sources=[names.DataSourceMetadata(type_name=name) for name in self.data],
        )

    def GetProviderSchema(self, request, context):
        answer = protocol.GetProviderSchema.Response(server_capabilities=self.capabilities(), provider=schema(PROVIDER))
        for name, about in self.resources.items():
            answer.resource_schemas[name].CopyFrom(schema(about["block"]))
        for name, about in self.data.items():
            answer.data_source_schemas[name].CopyFrom(schema(about["block"]))
        return answer

    def GetResourceIdentitySchemas(self, request, context):
        return protocol.GetResourceIdentitySchemas.Response()

    def ValidateProviderConfig(self, request, context):
        return protocol.ValidateProviderConfig.Response()

    def ConfigureProvider(self, request, context):
        self.region = (unpacked(request.config) or {}).get("region") or self.region
        return protocol.ConfigureProvider.Response()

    def ValidateResourceConfig(self, request, context):
        return protocol.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request, context):
        return protocol.ValidateDataResourceConfig.Response()

    def UpgradeResourceState(self, request, context):
        return protocol.UpgradeResourceState.Response(upgraded_state=protocol.DynamicValue(json=request.raw_state.json))

    def ReadResource(self, request, context):
        return protocol.ReadResource.Response(new_state=request.current_state, private=request.private)

    def PlanResourceChange(self, request, context):
        proposed, prior = unpacked(request.proposed_new_state), unpacked(request.prior_state)
        about = self.resources[request.type_name]["block"]
        if proposed is not None and prior is None:
            # The provider knows the region before it applies.
            proposed = filled(about, proposed, lambda name, _: self.region if name == "region" else UNKNOWN)
        return protocol.PlanResourceChange.Response(planned_state=packed(proposed), legacy_type_system=True)

    def ApplyResourceChange(self, request, context):
        kind, prior = request.type_name, unpacked(request.prior_state)
        planned = without_unknown(unpacked(request.planned_state))
        answer = protocol.ApplyResourceChange.Response
        try:
            if planned is None:
                if self.cloud:
                    self.cloud.delete(kind, prior)
                return answer(new_state=packed(None))
            if self.cloud:
                planned |= self.cloud.apply(kind, planned, prior) or {}
        except Exception as error:  # noqa: BLE001, whatever the service said is for the person who runs Terraform
            said = protocol.Diagnostic(severity=protocol.Diagnostic.ERROR, summary=f"{kind}: {type(error).__name__}", detail=str(error))
            return answer(new_state=packed(prior), legacy_type_system=True, diagnostics=[said])
        made = filled(self.resources[kind]["block"], planned, lambda name, about: self.made_up(kind, planned, name, about))
        return answer(new_state=packed(made), legacy_type_system=True)

    def made_up(self, kind: str, planned: dict, name: str, about: dict):
        """A value for a computed attribute of a type that is only remembered."""
        if "nested_type" in about:
            return None if about["nested_type"]["nesting_mode"] == "single" else []
        if about["type"] == "dynamic":
            return None
        if isinstance(about["type"], list):
            return {} if about["type"][0] == "map" else []
        if about["type"] in ("bool", "number"):
            return False if about["type"] == "bool" else 0
        base = next((planned[key] for key in ("name", "bucket", "family") if planned.get(key)), None) or uuid.uuid4().hex[:12]
        if name == "id":
            return base
        if name == "arn" or name.endswith("_arn"):
            return f"arn:aws:{kind.removeprefix('aws_').split('_')[0]}:{self.region}:{ACCOUNT}:{base}"
        return self.region if name == "region" else f"{kind}-{name}"

    def ReadDataSource(self, request, context):
        config = unpacked(request.config)
        found = {
            "aws_region": {"name": self.region, "region": self.region, "id": self.region},
            "aws_caller_identity": {"account_id": ACCOUNT, "id": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "user_id": "x"},
            "aws_partition": {"partition": "aws", "dns_suffix": "amazonaws.com", "id": "aws", "reverse_dns_prefix": "com.amazonaws"},
        }.get(request.type_name, {})
        if request.type_name == "aws_iam_policy_document":
            text = policy_document(config)
            found = {"json": text, "minified_json": text, "id": "policy"}
        if request.type_name == "aws_subnet":
            # `subnet-b1` is in zone b.
            found = {"availability_zone": f"{self.region}{config['id'].split('-')[1][0]}", "vpc_id": "vpc-1", "id": config["id"]}
        if request.type_name == "aws_vpc":
            found = {"cidr_block": "10.0.0.0/16", "id": config["id"], "arn": f"arn:aws:ec2:{self.region}:{ACCOUNT}:vpc/{config['id']}"}
        about = self.data[request.type_name]["block"]
        made = filled(about, config | found, lambda name, about: self.made_up(request.type_name, config, name, about))
        return protocol.ReadDataSource.Response(state=packed(made))

    def StopProvider(self, request, context):
        return protocol.StopProvider.Response()


def serve(schemas: dict, socket: Path, cloud=None):
    """Starts it. Returns the server, and what Terraform's environment needs."""
    socket.unlink(missing_ok=True)
    limits = [("grpc.max_send_message_length", MESSAGE_BYTES_MAX), ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=limits)
    services.add_ProviderServicer_to_server(StandIn(schemas, cloud), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    address = {"Network": "unix", "String": str(socket)}
    about = {"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": address}
    return server, {"TF_REATTACH_PROVIDERS": json.dumps({"registry.terraform.io/hashicorp/aws": about})}
