"""The engine that the NSP-BERT scripts share: checkpoints, scoring, answer mapping, results."""

import time

__version__ = "0.1.0"
STARTED = time.monotonic()  # --verbose counts from here
