"""What every test runs under."""

from __future__ import annotations

import os
import signal

# An f-string on an Output becomes help text inside user data unless this is set; with it, it raises.
# Read by the SDK at each conversion, so the first import is early enough.
os.environ["PULUMI_ERROR_OUTPUT_STRING"] = "true"

# Nothing of the person's own Pulumi login, stack or plugins may decide how a test ends.
for _name in [name for name in os.environ if name.startswith("PULUMI_CONFIG")]:
    del os.environ[_name]
os.environ["PULUMI_SKIP_UPDATE_CHECK"] = "true"

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and so starts all
# that is started there: what tests interrupt would go on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
