# One key encrypts the streams, the buckets, the results of queries, the logs and the notices.

resource "aws_kms_key" "lake" {
  description             = "${var.name}: streams, lake, logs and notices"
  enable_key_rotation     = true
  multi_region            = var.replica_region != null
  deletion_window_in_days = var.protected ? 30 : 7
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "lake" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.lake.key_id
}

resource "aws_kms_replica_key" "lake" {
  for_each                = local.replicas
  region                  = each.value
  description             = "${var.name}: copy of the lake"
  primary_key_arn         = aws_kms_key.lake.arn
  deletion_window_in_days = var.protected ? 30 : 7
  policy                  = data.aws_iam_policy_document.key.json

  lifecycle {
    precondition {
      condition     = var.replica_region != local.region
      error_message = "replica_region is the region of the lake itself. Choose another one, or null."
    }
  }
}

# In the policy of a key, the resource `*` is this key.
data "aws_iam_policy_document" "key" {
  # Without this statement nobody could change the key again. It lets the account's own policies decide.
  # checkov:skip=CKV_AWS_109:a key policy that leaves its key to the account's IAM policies; `*` is this key
  # checkov:skip=CKV_AWS_111:a key policy that leaves its key to the account's IAM policies; `*` is this key
  # checkov:skip=CKV_AWS_356:in the policy of a key, `*` is this key
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
  # Notices go to an encrypted topic. AWS does not support a condition on the source for EventBridge: nothing would arrive.
  statement {
    sid       = "NoticesOfEventBridge"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
  statement {
    sid       = "Notices"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:*"]
    }
  }
}
