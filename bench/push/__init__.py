"""What pushing a price to many subscribers costs, the service beside others that push: `make bench-push`."""
