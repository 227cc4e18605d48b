"""Failure drills: each promise is checked under load while something fails, with real processes and an oracle.

A `Drill` names the claim, the load, the fault, and what may result from it. It runs on a `Scene`: services of
bench.chaos.fleet beside an exchange that records what it says, a Redis behind a `Wire`, nginx in front. `clients` send
requests and subscribe all the time, and `judge` checks each answer and event against what the exchange has said. All
results go into the drill's `Notes`, and from there into a row of docs/reliability.md.
"""
