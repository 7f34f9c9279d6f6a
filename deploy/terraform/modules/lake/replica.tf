# The copy in a second region, under the replica of the key.

resource "aws_s3_bucket" "copy" {
  # checkov:skip=CKV_AWS_18:as for the lake
  # checkov:skip=CKV2_AWS_62:nothing but replication writes here, and its failures are alarms
  for_each      = local.replicas
  region        = each.value
  bucket        = local.copy
  force_destroy = !var.protected
}

resource "aws_s3_bucket_versioning" "copy" {
  for_each = local.replicas
  region   = each.value
  bucket   = aws_s3_bucket.copy[each.key].id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_ownership_controls" "copy" {
  for_each = local.replicas
  region   = each.value
  bucket   = aws_s3_bucket.copy[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "copy" {
  for_each                = local.replicas
  region                  = each.value
  bucket                  = aws_s3_bucket.copy[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "copy" {
  for_each = local.replicas
  region   = each.value
  bucket   = aws_s3_bucket.copy[each.key].id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_replica_key.lake[each.key].arn
    }
  }
}

resource "aws_s3_bucket_policy" "copy" {
  for_each   = local.replicas
  region     = each.value
  bucket     = aws_s3_bucket.copy[each.key].id
  policy     = data.aws_iam_policy_document.bucket["copy"].json
  depends_on = [aws_s3_bucket_public_access_block.copy]
}

resource "aws_s3_bucket_lifecycle_configuration" "copy" {
  for_each   = local.replicas
  region     = each.value
  bucket     = aws_s3_bucket.copy[each.key].id
  depends_on = [aws_s3_bucket_versioning.copy]
  rule {
    id     = "left-over"
    status = "Enabled"
    filter {
      prefix = ""
    }
    noncurrent_version_expiration {
      noncurrent_days = 30
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

resource "aws_s3_bucket_replication_configuration" "lake" {
  for_each   = local.replicas
  bucket     = aws_s3_bucket.lake.id
  role       = aws_iam_role.replication[each.key].arn
  depends_on = [aws_s3_bucket_versioning.lake, aws_s3_bucket_versioning.copy, aws_iam_role_policy.replication]

  rule {
    id     = "events"
    status = "Enabled"
    # A rule for each prefix would need a priority for each; errors and results are not worth a copy.
    filter {
      prefix = "events/"
    }
    # A deletion here must not delete the copy.
    delete_marker_replication {
      status = "Disabled"
    }
    source_selection_criteria {
      sse_kms_encrypted_objects {
        status = "Enabled"
      }
    }
    destination {
      bucket        = aws_s3_bucket.copy[each.key].arn
      storage_class = "STANDARD_IA"
      encryption_configuration {
        replica_kms_key_id = aws_kms_replica_key.lake[each.key].arn
      }
      metrics {
        status = "Enabled"
      }
    }
  }

  lifecycle {
    precondition {
      condition = (
        aws_s3_bucket_versioning.lake.versioning_configuration[0].status == "Enabled" &&
        aws_s3_bucket_versioning.copy[each.key].versioning_configuration[0].status == "Enabled"
      )
      error_message = "Replication needs versioning on both buckets."
    }
  }
}

resource "aws_iam_role" "replication" {
  for_each           = local.replicas
  name               = "${var.name}-replication"
  assume_role_policy = data.aws_iam_policy_document.trust["s3"].json
}

resource "aws_iam_role_policy" "replication" {
  for_each = local.replicas
  name     = "replicate"
  role     = aws_iam_role.replication[each.key].id
  policy   = data.aws_iam_policy_document.replication[each.key].json
}

data "aws_iam_policy_document" "replication" {
  for_each = local.replicas
  statement {
    sid       = "ReadTheRules"
    actions   = ["s3:GetReplicationConfiguration", "s3:ListBucket"]
    resources = [aws_s3_bucket.lake.arn]
  }
  statement {
    sid       = "ReadTheEvents"
    actions   = ["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"]
    resources = ["${aws_s3_bucket.lake.arn}/events/*"]
  }
  statement {
    sid       = "WriteTheCopy"
    actions   = ["s3:ReplicateObject", "s3:ReplicateTags"]
    resources = ["${aws_s3_bucket.copy[each.key].arn}/events/*"]
  }
  # With a bucket key, the encryption context is the bucket.
  statement {
    sid       = "OpenTheEvents"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.lake.arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
  }
  statement {
    sid       = "CloseTheCopy"
    actions   = ["kms:Encrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_replica_key.lake[each.key].arn]
    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${each.value}.amazonaws.com"]
    }
  }
}

# Who may take a role: one service.
data "aws_iam_policy_document" "trust" {
  for_each = toset(["s3", "firehose"])
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
    # Not for replication: its documentation knows no condition here.
    dynamic "condition" {
      for_each = each.key == "firehose" ? [local.account] : []
      content {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [condition.value]
      }
    }
  }
}
