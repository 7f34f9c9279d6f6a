variable "name" {
  type        = string
  description = "Name of the balancer and of its target group."
}

variable "vpc_id" {
  type        = string
  description = "The VPC."
}

variable "subnet_ids" {
  type        = list(string)
  description = "Subnets of the balancer, in two zones at least."
}

variable "certificate_arn" {
  type        = string
  description = "Certificate of ACM, in the region of the balancer."
}

variable "target_type" {
  type        = string
  description = "ip for Fargate, instance for EC2."
}

variable "internal" {
  type        = bool
  description = "true: only the VPC reaches it."
}

variable "web_acl_arn" {
  type        = string
  description = "Web ACL of WAF, or null."
}

variable "protected" {
  type        = bool
  description = "true: it is not deleted."
}
