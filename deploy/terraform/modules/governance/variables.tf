variable "bucket" {
  type        = string
  description = "The bucket of the lake."
}

variable "database" {
  type        = string
  description = "The database in Glue."
}

variable "tables" {
  type        = map(list(string))
  description = "Columns of each table and view."
}

variable "analysts" {
  type        = list(string)
  description = "ARNs of the roles that may query, through Lake Formation only."
  validation {
    condition     = alltrue([for arn in var.analysts : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(role|user)/", arn))])
    error_message = "analysts are ARNs of roles or users of IAM."
  }
}
