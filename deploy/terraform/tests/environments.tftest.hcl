# `terraform test`: no account is needed, the provider is mocked from its own schema.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_vpc" {
    defaults = { cidr_block = "10.0.0.0/16" }
  }
}

variables {
  region      = "eu-west-1"
  environment = "staging"
  protected   = false
}

run "prod_is_protected" {
  command = plan
  variables {
    environment = "prod"
    protected   = false
  }
  expect_failures = [var.protected]
}

run "an_unknown_environment_is_refused" {
  command = plan
  variables {
    environment = "test"
  }
  expect_failures = [var.environment]
}

run "firehose_needs_no_stream" {
  command = plan
  assert {
    condition     = length(output.lake.streams) == 0 && output.lake.deliveries.events == "lakegate-staging"
    error_message = "ingest = firehose made a stream, or no delivery stream"
  }
  assert {
    condition     = output.lake.gateway_environment.LAKEGATE__SINK__KIND == "firehose" && output.lake.gateway_environment.LAKEGATE__FIREHOSE__FORMAT == "envelope"
    error_message = "the gateway is not led to Firehose"
  }
}

run "a_stream_has_a_second_one_for_dead_letters" {
  command = plan
  variables {
    ingest = "stream"
  }
  assert {
    condition     = output.lake.streams == { events = "lakegate-staging", dead_letters = "lakegate-staging-dead-letters" }
    error_message = "the streams are ${jsonencode(output.lake.streams)}"
  }
}

run "a_lake_that_the_gateway_writes_has_no_firehose" {
  command = plan
  variables {
    ingest = "s3"
  }
  assert {
    condition     = length(output.lake.deliveries) == 0 && output.lake.gateway_environment.LAKEGATE__LAKE__ROOT == "s3://lakegate-staging-lake-123456789012-eu-west-1/events"
    error_message = "the gateway is not led to the bucket"
  }
}

run "a_copy_is_in_the_second_region" {
  command = plan
  variables {
    replica_region = "eu-central-1"
  }
  assert {
    condition     = output.lake.copy == "lakegate-staging-copy-123456789012-eu-central-1"
    error_message = "the copy is ${coalesce(output.lake.copy, "missing")}"
  }
}

run "a_disk_that_ends_with_the_task_is_no_place_for_a_lake" {
  command = plan
  variables {
    ingest  = "s3"
    gateway = { vpc_id = "vpc-1", subnet_ids = ["subnet-a1", "subnet-b1"], certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/x", image = "lakegate:0.1.0" }
  }
  expect_failures = [var.gateway]
}

run "ec2_needs_a_release" {
  command = plan
  variables {
    gateway = { profile = "ec2", vpc_id = "vpc-1", subnet_ids = ["subnet-a1"], certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/x" }
  }
  expect_failures = [var.gateway]
}
