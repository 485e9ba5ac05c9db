"""Around a run: what is started as `python -m tools.<name>`, and the parts that they share."""

import sys

from tools import early

# "-m" while Python looks for the program: here, before its imports take seconds.
if sys.argv[:1] == ["-m"]:
    early.handle()
