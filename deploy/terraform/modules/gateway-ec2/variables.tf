variable "name" {
  type        = string
  description = "What every name begins with."
}

variable "gateway" {
  type        = any
  description = "As in the root module."
}

variable "environment" {
  type        = map(string)
  description = "The settings that lead the gateway to the lake."
}

variable "policy" {
  type        = string
  description = "What the gateway may do, as JSON."
}

variable "key_arn" {
  type        = string
  description = "The key that encrypts the logs."
}

variable "metrics" {
  type        = object({ agent = string, prometheus = string })
  description = "Configuration of the CloudWatch agent, which reads the gateway's metrics."
}

variable "protected" {
  type        = bool
  description = "true: the balancer is not deleted."
}
