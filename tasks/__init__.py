"""Tasks, one file or folder each; in any process, those in ``tasks/`` of the working folder belong to them."""

import os

__path__.append(os.path.join(os.environ.get("BENCH_PLUGINS", ""), __name__))
