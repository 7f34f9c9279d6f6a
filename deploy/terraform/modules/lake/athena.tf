# The workgroup for analysts: encrypted results, a limit of what a query may scan, and the saved queries.

resource "aws_athena_workgroup" "lake" {
  name          = var.name
  description   = "Queries of the lake ${var.name}"
  force_destroy = !var.protected

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.scan_bytes_max
    result_configuration {
      output_location       = "s3://${aws_s3_bucket.lake.bucket}/results/"
      expected_bucket_owner = local.account
      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = aws_kms_key.lake.arn
      }
    }
  }
}

resource "aws_athena_named_query" "this" {
  for_each  = var.queries
  name      = each.key
  workgroup = aws_athena_workgroup.lake.id
  database  = aws_glue_catalog_database.lake.name
  query     = each.value
}
