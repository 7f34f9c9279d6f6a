# The streams of the profile `stream`: events, and dead letters.

resource "aws_kinesis_stream" "this" {
  for_each                  = local.streams
  name                      = each.value
  shard_count               = each.key == "events" ? var.shards : var.shards == null ? null : 1
  retention_period          = var.retention_hours
  encryption_type           = "KMS"
  kms_key_id                = aws_kms_key.lake.arn
  enforce_consumer_deletion = !var.protected

  stream_mode_details {
    stream_mode = var.shards == null ? "ON_DEMAND" : "PROVISIONED"
  }
}
