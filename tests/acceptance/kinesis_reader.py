"""Reads a stream back as a consumer would, with decoders that are not ours, and says what it costs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import time
from dataclasses import dataclass, field

from aws_kinesis_agg import MAGIC
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

# An aggregate is at least its magic, a message and the MD5 of that.
DIGEST_BYTES = 16


@dataclass
class Record:
    """A record as GetRecords answered it."""

    shard_id: str
    # The hashes that its shard takes, both inclusive.
    hash_range: tuple[int, int]
    raw: dict

    @property
    def data(self) -> bytes:
        return self.raw["Data"]

    @property
    def partition_key(self) -> str:
        return self.raw["PartitionKey"]

    @property
    def is_aggregate(self) -> bool:
        message, digest = self.data[len(MAGIC) : -DIGEST_BYTES], self.data[-DIGEST_BYTES:]
        return self.data.startswith(MAGIC) and hashlib.md5(message).digest() == digest

    def user_records(self) -> list[UserRecord]:
        """What a consumer with de-aggregation sees: one, or what is in the aggregate."""
        if not self.is_aggregate:
            return [UserRecord(self.partition_key, None, self.data)]
        found = [one["kinesis"] for one in iter_deaggregate_records([self.raw], data_format="Boto3")]
        return [UserRecord(one["partitionKey"], one["explicitHashKey"], base64.b64decode(one["data"])) for one in found]

    def kcl_keeps(self) -> bool:
        """KCL drops an aggregate whole where the hash of one record in it lies outside the shard; the decoder does not look."""
        low, high = self.hash_range
        return not self.is_aggregate or all(low <= one.effective_hash <= high for one in self.user_records())


@dataclass
class UserRecord:
    partition_key: str
    explicit_hash_key: str | None
    data: bytes

    @property
    def effective_hash(self) -> int:
        if self.explicit_hash_key is not None:
            return int(self.explicit_hash_key)
        return int.from_bytes(hashlib.md5(self.partition_key.encode()).digest())

    def lines(self) -> list[bytes]:
        assert self.data.endswith(b"\n"), self.data[-100:]
        return self.data[:-1].split(b"\n")


@dataclass
class Reader:
    """Reads all shards of a stream from their beginning, and remembers how far it came."""

    kinesis: object
    stream: str
    records: list[Record] = field(default_factory=list)

    def __post_init__(self):
        self.ranges, self.iterators = {}, {}

    def poll(self) -> list[Record]:
        """What came since the last time. Shards that were added are read too."""
        new = []
        for shard in self.shards():
            shard_id = shard["ShardId"]
            if shard_id not in self.iterators:
                ranges = shard["HashKeyRange"]
                self.ranges[shard_id] = int(ranges["StartingHashKey"]), int(ranges["EndingHashKey"])
                start = {"ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
                self.iterators[shard_id] = self.kinesis.get_shard_iterator(StreamName=self.stream, **start)["ShardIterator"]
            while self.iterators[shard_id]:
                answer = self.kinesis.get_records(ShardIterator=self.iterators[shard_id])
                self.iterators[shard_id] = answer.get("NextShardIterator")
                new += [Record(shard_id, self.ranges[shard_id], raw) for raw in answer["Records"]]
                if not answer["Records"]:
                    break
        self.records += new
        return new

    def shards(self) -> list[dict]:
        answer = self.kinesis.list_shards(StreamName=self.stream)
        shards = answer["Shards"]
        while "NextToken" in answer:
            answer = self.kinesis.list_shards(NextToken=answer["NextToken"])
            shards += answer["Shards"]
        return shards

    def lines(self) -> list[bytes]:
        return [line for record in self.records for user in record.user_records() for line in user.lines()]

    def until(self, lines: int, seconds: float = 60) -> list[bytes]:
        """Reads until so many lines came, and all that is there by then."""
        deadline, count = time.monotonic() + seconds, 0
        while True:
            new = self.poll()
            count += sum(len(user.lines()) for record in new for user in record.user_records())
            if count >= lines and not new:
                return self.lines()
            assert time.monotonic() < deadline, f"{count} of {lines} lines came in {seconds} s"
            time.sleep(0.05)


def event_uuid(line: bytes) -> str:
    return json.loads(line)["event_uuid"].lower()


def put_units(data_bytes: int) -> int:
    """What a provisioned stream bills a record as: units of 25 KB, rounded up for each record."""
    return max(1, math.ceil(data_bytes / 25_600))


def ondemand_bytes(data_bytes: int) -> int:
    """What an on-demand stream bills a record as: rounded up to 1 KB."""
    return 1024 * max(1, math.ceil(data_bytes / 1024))


@dataclass
class Bill:
    """What a stream is billed for a million events, as they lie in these records."""

    records: float
    put_units: float
    on_demand_gb: float

    def row(self) -> list[float]:
        """As in the table of docs/aws.md: records, and dollars by capacity mode (prices of us-east-1: KINESIS.md, plan/facts.toml)."""
        return [self.records, self.put_units * 0.014 / 1e6, self.on_demand_gb * 0.08, self.on_demand_gb * 0.032]


def bills(records: list[Record]) -> tuple[str, Bill, Bill]:
    """What was measured, in words, and the bill as sent and as one record for each event."""
    events = [len(line) + 1 for record in records for user in record.user_records() for line in user.lines()]
    per_million = 1_000_000 / len(events)

    def bill(sizes: list[int]) -> Bill:
        units, billed = sum(map(put_units, sizes)), sum(map(ondemand_bytes, sizes))
        return Bill(len(sizes) * per_million, units * per_million, billed * per_million / 1e9)

    sent, single = bill([len(record.data) for record in records]), bill(events)
    mean = sum(events) / len(events)
    text = (f"{len(events)} events of {mean:.0f} B in {len(records)} records, {len(events) / len(records):.1f} in each; "
            f"a million of them are {sent.put_units:,.0f} units, on demand {sent.on_demand_gb:.3f} GB; "
            f"as single records {single.put_units:,.0f} units, on demand {single.on_demand_gb:.3f} GB")
    return text, sent, single
