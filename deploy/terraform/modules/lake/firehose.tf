# Firehose: events to Parquet in folders by type and day, dead letters to JSON lines.

locals {
  table = "events_dated"
  # What Firehose takes out of each event for its folder: the partition keys of the table, in their order.
  partition_keys = [for key in one([for table in var.catalogue.tables : table if table.name == "events_dated"]).partition_keys : key.name]
  query          = "{${join(", ", [for key in local.partition_keys : "${key}: .${key}"])}}"
  folders        = join("", [for key in local.partition_keys : "${key}=!{partitionKeyFromQuery:${key}}/"])
  # Without a timestamp in the prefix, Firehose adds folders.
  prefix       = "events/${local.folders}!{timestamp:yyyyMMdd}-"
  error_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/"
  compression  = "UNCOMPRESSED"

  keys_of_prefix = regexall("partitionKeyFromQuery:([a-z_]+)\\}", local.prefix)
  keys_of_query  = regexall("([a-z_]+): *\\.", local.query)
}

resource "aws_kinesis_firehose_delivery_stream" "events" {
  for_each    = { for key, name in local.deliveries : key => name if key == "events" }
  name        = each.value
  destination = "extended_s3"
  depends_on  = [aws_iam_role_policy.firehose]

  dynamic "kinesis_source_configuration" {
    for_each = local.has_stream ? [aws_kinesis_stream.this[each.key].arn] : []
    content {
      kinesis_stream_arn = kinesis_source_configuration.value
      role_arn           = aws_iam_role.firehose[each.key].arn
    }
  }
  # AWS refuses it together with a stream as the source: there the stream is encrypted.
  dynamic "server_side_encryption" {
    for_each = local.has_stream ? [] : [aws_kms_key.lake.arn]
    content {
      enabled  = true
      key_type = "CUSTOMER_MANAGED_CMK"
      key_arn  = server_side_encryption.value
    }
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.firehose[each.key].arn
    bucket_arn          = aws_s3_bucket.lake.arn
    prefix              = local.prefix
    error_output_prefix = local.error_prefix
    buffering_size      = var.buffer_mib
    buffering_interval  = var.buffer_seconds
    compression_format  = local.compression
    kms_key_arn         = aws_kms_key.lake.arn

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose[each.key].name
      log_stream_name = aws_cloudwatch_log_stream.firehose[each.key].name
    }
    dynamic_partitioning_configuration {
      enabled        = true
      retry_duration = 300
    }
    processing_configuration {
      enabled = true
      # Splits the lines of `aggregation = "ndjson"`. Records of the KPL are opened without it.
      processors {
        type = "RecordDeAggregation"
        parameters {
          parameter_name  = "SubRecordType"
          parameter_value = "JSON"
        }
      }
      processors {
        type = "MetadataExtraction"
        parameters {
          parameter_name  = "MetadataExtractionQuery"
          parameter_value = local.query
        }
        parameters {
          parameter_name  = "JsonParsingEngine"
          parameter_value = "JQ-1.6"
        }
      }
    }
    data_format_conversion_configuration {
      input_format_configuration {
        deserializer {
          open_x_json_ser_de {}
        }
      }
      output_format_configuration {
        serializer {
          parquet_ser_de {
            compression = "SNAPPY"
          }
        }
      }
      schema_configuration {
        role_arn      = aws_iam_role.firehose[each.key].arn
        catalog_id    = local.account
        region        = local.region
        database_name = aws_glue_catalog_database.lake.name
        table_name    = local.table
      }
    }
  }

  lifecycle {
    precondition {
      condition     = contains(keys(aws_glue_catalog_table.files), local.table)
      error_message = "Firehose converts by the table ${local.table}, which the catalogue does not have."
    }
    precondition {
      condition     = local.compression == "UNCOMPRESSED"
      error_message = "Parquet compresses itself: with conversion Firehose takes UNCOMPRESSED only."
    }
    precondition {
      condition     = can(regex("^\\{([a-z_]+: *\\.[a-z_]+(, *)?)+\\}$", local.query)) && !can(regex(", *\\}$", local.query))
      error_message = "${local.query} is not a jq object such as {event_type: .event_type}."
    }
    precondition {
      condition     = toset(flatten(local.keys_of_query)) == toset(flatten(local.keys_of_prefix))
      error_message = "The prefix and the jq query of Firehose name different keys."
    }
    precondition {
      condition     = flatten(local.keys_of_prefix) == local.partition_keys
      error_message = "The prefix of Firehose names other keys than the partition keys of the table ${local.table}, or in another order."
    }
    precondition {
      condition     = can(regex("!\\{firehose:error-output-type\\}", local.error_prefix)) && startswith(local.error_prefix, "errors/")
      error_message = "error_output_prefix begins with errors/, which is watched, and has !{firehose:error-output-type}, which AWS wants with dynamic partitioning."
    }
  }
}

resource "aws_kinesis_firehose_delivery_stream" "dead_letters" {
  for_each    = { for key, name in local.deliveries : key => name if key == "dead_letters" }
  name        = each.value
  destination = "extended_s3"
  depends_on  = [aws_iam_role_policy.firehose]

  dynamic "kinesis_source_configuration" {
    for_each = local.has_stream ? [aws_kinesis_stream.this[each.key].arn] : []
    content {
      kinesis_stream_arn = kinesis_source_configuration.value
      role_arn           = aws_iam_role.firehose[each.key].arn
    }
  }
  dynamic "server_side_encryption" {
    for_each = local.has_stream ? [] : [aws_kms_key.lake.arn]
    content {
      enabled  = true
      key_type = "CUSTOMER_MANAGED_CMK"
      key_arn  = server_side_encryption.value
    }
  }

  extended_s3_configuration {
    role_arn            = aws_iam_role.firehose[each.key].arn
    bucket_arn          = aws_s3_bucket.lake.arn
    prefix              = "dead-letters/!{timestamp:yyyy-MM-dd}/"
    error_output_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy-MM-dd}/"
    buffering_size      = 5
    buffering_interval  = 300
    # `lakegate dead-letters replay --from FILE` reads plain lines.
    compression_format = "UNCOMPRESSED"
    kms_key_arn        = aws_kms_key.lake.arn

    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.firehose[each.key].name
      log_stream_name = aws_cloudwatch_log_stream.firehose[each.key].name
    }
  }
}

resource "aws_cloudwatch_log_group" "firehose" {
  # checkov:skip=CKV_AWS_338:errors of delivery only; the records themselves are below errors/
  for_each          = local.deliveries
  name              = "/aws/kinesisfirehose/${each.value}"
  retention_in_days = 30
  kms_key_id        = aws_kms_key.lake.arn
}

resource "aws_cloudwatch_log_stream" "firehose" {
  for_each       = local.deliveries
  name           = "delivery"
  log_group_name = aws_cloudwatch_log_group.firehose[each.key].name
}
