"""Tests: `unit` with fakes at the ports and a clock that only the test moves, `integration` over real sockets."""
