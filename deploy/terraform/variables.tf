# Everything that an environment may choose; envs/*.tfvars has three examples.

variable "environment" {
  type        = string
  description = "dev, staging or prod; a part of every name."
  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "name" {
  type        = string
  description = "What every name begins with, before the environment."
  default     = "lakegate"
}

variable "region" {
  type        = string
  description = "Region of the gateways and of the lake."
}

variable "protected" {
  type        = bool
  description = "true: `destroy` fails as long as there are data. false: it deletes them."
  validation {
    condition     = var.environment != "prod" || var.protected
    error_message = "prod is protected. To take it down on purpose, read docs/aws.md, Teardown."
  }
}

variable "ingest" {
  type        = string
  description = "firehose (no stream), stream (Kinesis, for other consumers too) or s3 (only with gateways on EC2)."
  default     = "firehose"
}

variable "shards" {
  type        = number
  description = "Shards of the stream. null: on demand."
  default     = null
}

variable "retention_hours" {
  type        = number
  description = "Hours for which the streams keep records."
  default     = 24
}

variable "buffer_seconds" {
  type        = number
  description = "How long Firehose collects events for a file."
  default     = 900
}

variable "replica_region" {
  type        = string
  description = "Second region for a copy of the lake. null: none."
  default     = null
}

variable "archive_days" {
  type        = number
  description = "Age at which events move to Glacier Instant Retrieval. null: never."
  default     = null
}

variable "emails" {
  type        = list(string)
  description = "Who gets notices and alarms by mail."
  default     = []
  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", email))])
    error_message = "emails are addresses such as data@example.com."
  }
}

variable "budget_usd" {
  type        = number
  description = "USD a month that this environment may cost; the notice comes at 80 %. null: no budget."
  default     = null
  validation {
    condition     = var.budget_usd == null ? true : var.budget_usd > 0
    error_message = "budget_usd is above 0, or null for no budget."
  }
}

variable "analysts" {
  type        = list(string)
  description = "ARNs of roles that may query, governed by Lake Formation. Empty: IAM alone decides."
  default     = []
}

variable "gateway" {
  type = object({
    profile             = optional(string, "fargate")
    vpc_id              = string
    subnet_ids          = list(string)
    balancer_subnet_ids = optional(list(string))
    certificate_arn     = string
    internal            = optional(bool, false)
    web_acl_arn         = optional(string)
    # Fargate.
    image     = optional(string)
    tasks_min = optional(number, 2)
    tasks_max = optional(number, 10)
    cpu       = optional(number, 1024)
    memory    = optional(number, 2048)
    public_ip = optional(bool, true)
    # EC2.
    release       = optional(object({ bucket = string, key = string, sha256 = string }))
    instance_type = optional(string, "t4g.small")
    disk_gib      = optional(number, 30)
    environment   = optional(map(string), {})
  })
  description = "The gateways, in a VPC that exists. null: the lake alone, for gateways that run elsewhere."
  default     = null
  validation {
    condition     = var.gateway == null ? true : contains(["fargate", "ec2"], var.gateway.profile)
    error_message = "gateway.profile is fargate or ec2."
  }
  validation {
    condition     = var.gateway == null ? true : var.gateway.tasks_min == floor(var.gateway.tasks_min) && var.gateway.tasks_max == floor(var.gateway.tasks_max)
    error_message = "gateway.tasks_min and gateway.tasks_max are whole numbers."
  }
  validation {
    condition     = var.gateway == null ? true : var.gateway.profile != "fargate" || var.gateway.image != null
    error_message = "gateway.image is missing: the image that Fargate runs."
  }
  validation {
    condition     = var.gateway == null ? true : var.gateway.profile != "ec2" || var.gateway.release != null
    error_message = "gateway.release is missing: bucket, key and SHA-256 of the tarball of `make dist`."
  }
  validation {
    condition     = var.gateway == null ? true : var.gateway.profile != "fargate" || var.ingest != "s3"
    error_message = "Fargate's disk ends with the task, and ingest = \"s3\" needs a disk that lasts: use firehose, stream, or gateway.profile = \"ec2\"."
  }
}
