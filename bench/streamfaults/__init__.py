"""Seeded faults of the exchanges' streams against a real leader in one process, with every served quote judged."""
