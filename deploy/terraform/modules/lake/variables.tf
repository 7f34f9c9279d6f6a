variable "name" {
  type        = string
  description = "What every name begins with, such as lakegate-prod."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,24}[a-z0-9]$", var.name))
    error_message = "Use 4 to 26 lower-case letters, digits and hyphens, because the name becomes a part of bucket names."
  }
}

variable "catalogue" {
  type        = any
  description = "The output of `lakegate lake tables --format json`, decoded."
  validation {
    condition     = try(var.catalogue.format, 0) == 1
    error_message = "The catalogue has another format: print it with the `lakegate` of the same release."
  }
  validation {
    condition     = length(try(var.catalogue.event_types, [])) > 0
    error_message = "The catalogue has no event types: the registry was empty when it was printed."
  }
}

variable "queries" {
  type        = map(string)
  description = "SQL to save in the workgroup, by name."
  default     = {}
}

variable "ingest" {
  type        = string
  description = "stream: Kinesis, then Firehose. firehose: Firehose directly. s3: the gateway writes Parquet into the bucket itself."
  default     = "firehose"
  validation {
    condition     = contains(["stream", "firehose", "s3"], var.ingest)
    error_message = "ingest is stream, firehose or s3."
  }
}

variable "shards" {
  type        = number
  description = "Shards of the stream. null: on demand."
  default     = null
  validation {
    condition     = var.shards == null ? true : var.shards >= 1 && var.shards == floor(var.shards)
    error_message = "shards is a whole number from 1, or null for on demand."
  }
}

variable "retention_hours" {
  type        = number
  description = "Hours for which the streams keep records."
  default     = 24
  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760
    error_message = "Kinesis keeps records for 24 to 8760 hours."
  }
}

variable "buffer_seconds" {
  type        = number
  description = "How long Firehose collects events for a file. Longer makes larger files."
  default     = 900
  validation {
    condition     = var.buffer_seconds >= 60 && var.buffer_seconds <= 900
    error_message = "With dynamic partitioning Firehose takes 60 to 900 seconds."
  }
}

variable "buffer_mib" {
  type        = number
  description = "MiB that Firehose collects for a file."
  default     = 128
  validation {
    condition     = var.buffer_mib >= 64 && var.buffer_mib <= 128
    error_message = "With conversion to Parquet Firehose takes 64 to 128 MiB."
  }
}

variable "replica_region" {
  type        = string
  description = "Second region, which gets a copy of the lake. null: none."
  default     = null
}

variable "archive_days" {
  type        = number
  description = "Age at which events move to Glacier Instant Retrieval. null: never."
  default     = null
  validation {
    condition     = var.archive_days == null ? true : var.archive_days > 30
    error_message = "Events move to Intelligent-Tiering at 30 days, so the archive begins later."
  }
}

variable "scan_bytes_max" {
  type        = number
  description = "Bytes that one query in the workgroup may scan."
  default     = 100000000000
  validation {
    condition     = var.scan_bytes_max >= 10000000
    error_message = "Athena takes no cut-off below 10 MB."
  }
}

variable "emails" {
  type        = list(string)
  description = "Who gets the notices. Each address has to confirm a mail of AWS."
  default     = []
}

variable "protected" {
  type        = bool
  description = "true: what holds data is not destroyed. false: `destroy` empties and deletes the buckets."
}
