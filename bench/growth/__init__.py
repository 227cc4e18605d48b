"""What a request costs, and what the service uses, as pairs, connections and workers grow: `make bench-growth`."""
