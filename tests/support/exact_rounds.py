# SPDX-License-Identifier: MIT
"""A plugin for pytest inside tests: every profiled test has rounds of an exact length, however busy the machine is.

``ROUND_MS`` has the length in ms, or one by the name of each test as JSON; ``ROUNDS`` has their number.
"""

import json
import os
import random
from dataclasses import replace

from tests.support.run_records import batch, packing, run_of, stage
from virnuc_profiler.pytest_plugin.profiled_test import ProfiledTest

_close = ProfiledTest.close


def exact_run(round_ms, rounds=200, seed=1):
    """A run whose rounds vary by one percent."""
    random_, at, records = random.Random(seed), 0.0, []
    for number in range(rounds):
        until = at + round_ms * random_.uniform(0.99, 1.01)
        records.append(batch(number, at, until, (stage("forward", at, until),), packing([1])))
        at = until
    return run_of(records, at)


def _exact_close(self):
    run = _close(self)
    if run is None:
        return None
    wanted = json.loads(os.environ["ROUND_MS"])
    round_ms = wanted if not isinstance(wanted, dict) else wanted[self._test.rpartition("::")[2]]
    seed = int(os.environ.get("ROUND_SEED", "1"))
    return replace(exact_run(round_ms, int(os.environ.get("ROUNDS", "200")), seed), metadata=run.metadata)


ProfiledTest.close = _exact_close
