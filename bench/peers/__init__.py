"""The service beside everything that could replace it, on one core each, in one run: `make bench-peers`."""
