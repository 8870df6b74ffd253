"""The local cloud: what stands in for AWS, machines and the engine's plugins, and what drives the engine."""

import gc

# Every process that starts here imports tens of thousands of objects that live to its end. Looking
# through them for garbage each 700 allocations, as Python does by default, takes a tenth of its time.
gc.set_threshold(100_000)
