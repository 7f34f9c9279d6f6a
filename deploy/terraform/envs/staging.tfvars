# As prod, but small and without protection.
environment    = "staging"
region         = "eu-west-1"
replica_region = "eu-central-1"
protected      = false
ingest         = "stream"
shards         = 1
buffer_seconds = 300
