"""What the service does with prices: refreshing, failing over, holding the latest ones (domain and stdlib only)."""
