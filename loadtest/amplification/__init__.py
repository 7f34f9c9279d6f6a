"""What each attack costs the gateway for each byte that it sends: see `command`."""
