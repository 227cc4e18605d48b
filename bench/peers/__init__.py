"""The service beside everything that could stand in its place, on one core each, in one run: `make bench-peers`."""
