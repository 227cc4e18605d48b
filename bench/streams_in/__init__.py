"""From an exchange's frame to every worker's answer, and what it costs to receive many frames: `make bench-streams`.

Everything is real except the exchange: gunicorn and its workers, the simulated market as its own process, a
redis-server. The machine affects the figures too: with few cores, workers wait for each other.
"""
