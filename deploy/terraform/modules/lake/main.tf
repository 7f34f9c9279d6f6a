# The lake: the key, the way from the gateway into the bucket, the copy, the tables, and who is told of errors.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  region    = data.aws_region.current.region
  partition = data.aws_partition.current.partition

  bucket       = "${var.name}-lake-${local.account}-${local.region}"
  copy         = var.replica_region == null ? "" : "${var.name}-copy-${local.account}-${var.replica_region}"
  replicas     = var.replica_region == null ? {} : { here = var.replica_region }
  has_stream   = var.ingest == "stream"
  has_firehose = var.ingest != "s3"
  streams      = local.has_stream ? { events = var.name, dead_letters = "${var.name}-dead-letters" } : {}
  # Firehose: events become Parquet, dead letters stay JSON.
  deliveries = local.has_firehose ? { events = var.name, dead_letters = "${var.name}-dead-letters" } : {}
  root       = "s3://${local.bucket}/events"
}
