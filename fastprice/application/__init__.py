"""What we do with prices and how we survive: refreshing, failing over, holding the latest (domain and stdlib only)."""
