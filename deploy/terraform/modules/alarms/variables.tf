variable "name" {
  type        = string
  description = "What every name begins with."
}

variable "notices" {
  type        = string
  description = "The topic that is told."
}

variable "descriptions" {
  type        = map(string)
  description = "What each alert of ops/prometheus/alerts.yml says is to be done."
}

variable "buffer_seconds" {
  type        = number
  description = "How long Firehose collects events."
}

variable "streams" {
  type        = map(string)
  description = "The Kinesis streams, by use."
}

variable "deliveries" {
  type        = map(string)
  description = "The delivery streams of Firehose, by use."
}

variable "bucket" {
  type        = string
  description = "The bucket of the lake."
}

variable "copy" {
  type        = string
  description = "The bucket of the copy, or null."
}

variable "gateways" {
  type        = object({ dimensions = map(string), count = number })
  description = "The balancer of the gateways, and how many there are at least. null: they run elsewhere."
  default     = null
}

variable "budget_usd" {
  type        = number
  description = "USD a month, or null."
  default     = null
}
