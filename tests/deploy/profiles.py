"""The gateways' profiles, as a user would write them."""

import json

CERTIFICATE = "arn:aws:acm:eu-west-1:000000000000:certificate/x"
VPC = {"vpc_id": "vpc-1", "subnet_ids": ["subnet-a1", "subnet-b1"], "certificate_arn": CERTIFICATE}
FARGATE = VPC | {"image": "000000000000.dkr.ecr.eu-west-1.amazonaws.com/lakegate:0.1.0"}
EC2 = VPC | {"profile": "ec2", "release": {"bucket": "releases", "key": "lakegate.tar.gz", "sha256": "a" * 64}}
ANALYST = "arn:aws:iam::000000000000:role/analyst"


def variables(**values) -> list[str]:
    return [f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]


PROFILES = {
    "fargate, stream": ["-var-file=envs/prod.tfvars", *variables(gateway=FARGATE)],
    "fargate, firehose": ["-var-file=envs/staging.tfvars", *variables(gateway=FARGATE, ingest="firehose")],
    "ec2, s3": ["-var-file=envs/prod.tfvars", *variables(gateway=EC2, ingest="s3", analysts=[ANALYST])],
    "ec2, stream": ["-var-file=envs/staging.tfvars", *variables(gateway=EC2)],
    "no gateway": ["-var-file=envs/dev.tfvars"],
}
