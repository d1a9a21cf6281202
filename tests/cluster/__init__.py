"""Faults done to a real Ray cluster on loopback: `python -m tests.cluster` (`make failover`) prints what each costs."""
