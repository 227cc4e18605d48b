"""What the service costs: `make bench`, `make load`, `make soak`."""
