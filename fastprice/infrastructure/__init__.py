"""The outside world, one module per thing: exchanges, Redis, sqlite3, aiobreaker, Prometheus, logging."""
