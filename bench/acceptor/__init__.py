"""New connections that come and go, all come at once, or come while workers end: `make bench-acceptor`."""
