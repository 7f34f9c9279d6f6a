output "dns_name" {
  description = "Where events go, by a CNAME or an alias of yours."
  value       = aws_lb.this.dns_name
}

output "target_group_arn" {
  description = "What gateways register with."
  value       = aws_lb_target_group.this.arn
}

output "gateway_security_group_id" {
  description = "The security group of the gateways."
  value       = aws_security_group.gateway.id
}

output "listener_arn" {
  description = "The listener; a service waits for it."
  value       = aws_lb_listener.https.arn
}

output "dimensions" {
  description = "What CloudWatch calls them."
  value = {
    LoadBalancer = aws_lb.this.arn_suffix
    TargetGroup  = aws_lb_target_group.this.arn_suffix
  }
}

output "vpc_cidr" {
  description = "The addresses of the balancer, which the gateway believes."
  value       = data.aws_vpc.this.cidr_block
}
