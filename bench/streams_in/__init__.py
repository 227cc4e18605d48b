"""From an exchange's frame to every worker's answer, and what taking so many frames in costs: `make bench-streams`.

Everything is real but the exchange: gunicorn and its workers, the simulated market as a process of its own, a
redis-server. The machine that runs all of it is in the figures too: with few cores, workers wait for each other.
"""
