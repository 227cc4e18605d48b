"""What a fleet does when it starts cold, loses its caller, and loses Redis: `make bench-failures`."""
