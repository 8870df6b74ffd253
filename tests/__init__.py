"""The tests, and the programs that they start as `python -m tests...`."""

import gc

# A process of the tests imports everything and keeps it: looking through it for garbage each 700
# allocations, as Python does by default, takes a quarter of its time.
gc.set_threshold(1_000_000)
