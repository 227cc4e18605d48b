"""What pushing a price to many subscribers costs, for the service and other servers: `make bench-push`."""
