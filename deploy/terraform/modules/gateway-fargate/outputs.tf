output "dns_name" {
  description = "Where events go."
  value       = module.balancer.dns_name
}

output "dimensions" {
  description = "The balancer, as CloudWatch calls it."
  value       = module.balancer.dimensions
}

output "environment" {
  description = "The whole configuration of a gateway, but for its keys."
  value       = local.environment
}

output "keys_parameter" {
  description = "The parameter of SSM that holds the keys."
  value       = "/${var.name}/keys"
}
