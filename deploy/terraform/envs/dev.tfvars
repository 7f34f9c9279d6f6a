# The lake alone: run the gateway on your machine with the settings of `terraform output lake`, or add `gateway` as in prod.
environment = "dev"
region      = "eu-west-1"
protected   = false
# Small files, but soon there.
buffer_seconds = 60
