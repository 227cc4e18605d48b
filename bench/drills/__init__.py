"""Failure drills: each promise held under load while something fails, by real processes and an oracle that knows.

A `Drill` says what is claimed, the load, the fault, and what may come of it. It plays on a `Scene`: services of
bench.chaos.fleet beside an exchange that notes what it says, a Redis behind a wire, nginx in front. `clients` ask and
subscribe all the while, and `judge` holds each answer and event against what the exchange has said. Whatever was seen
goes into the drill's `Notes`, and from there into a row of docs/reliability.md.
"""
