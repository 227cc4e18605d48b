"""A fleet in virtual time: the real application in up to 10,000 workers, on ports with simulated failures."""
