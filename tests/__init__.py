"""Tests: unit (pure code), integration (real broker, real Postgres), law, faults; and the servers they run on."""
