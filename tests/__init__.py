"""Tests: `unit` uses fakes at the ports and a clock that only the test moves, `integration` uses real sockets."""
