"""The fault suite: what a network, a camera or a decoder can do to a camera, done to a running service, and measured.

    python -m tests.faults [--only NAME ...] [--json PATH]        # as `make faults` does

`stage.py` sets up the service, two cameras that nothing is done to, and those that a fault is done to; `watch.py` sees
what they publish; `trial.py` does one fault and measures; `table.py` shows it. The faults are in `faults_of_*.py`.
"""
