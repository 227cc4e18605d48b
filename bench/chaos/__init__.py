"""Seeded chaos: real fleets under every trouble we know, and an oracle that judges each answer.

A run is a row of episodes. Each has a seed and a world of its own: a `Group` of services over one Redis, another one
over the embedded store, each beside an exchange in this process that notes what it says. `troubles` switches
things off and on, `clients` ask all the while, `oracle` holds every answer to what is promised, `calm` holds what must
be true again when the troubles are over. The `ledger` keeps what was found beside what was on at that moment.
"""
