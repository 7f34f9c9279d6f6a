output "lake" {
  description = "Names of the lake, and the settings of a gateway that runs elsewhere."
  value       = module.lake
}

output "gateway" {
  description = "Where events go, and the parameter that holds the keys. null: the gateways run elsewhere."
  value       = one(concat(module.fargate[*], module.ec2[*]))
}
