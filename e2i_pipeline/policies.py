"""Named policies for retries: the only place that builds them.

Retries are for tools that did not answer (`ToolUnavailable`); `failures.py` forbids them for everything else.
"""

import dagster as dg

ESSENTIAL_TOOL = dg.RetryPolicy(max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For a step that needs a tool to go on: three more tries after about 2, 4 and 8 seconds."""
