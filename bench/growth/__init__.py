"""What a request costs, and what the service takes, while pairs, connections and workers grow: `make bench-growth`."""
