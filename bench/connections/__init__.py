"""What a new connection costs, the service beside the same peers as in bench.peers: `make bench-connections`."""
