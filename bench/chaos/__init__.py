"""Seeded chaos: real fleets under every kind of failure we know, and an oracle that judges each answer.

A run is a series of episodes. Each has its own seed and its own world: a `Group` of services over one Redis, another
over the embedded store, each beside an exchange in this process that records what it says. `troubles` breaks things
and repairs them, `clients` send requests all the time, `oracle` checks every answer, `calm` checks what must be true
again when the troubles are over. The `ledger` records each finding with the troubles that were active at that moment.
"""
