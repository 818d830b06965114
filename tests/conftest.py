"""What all tests have in common."""

import os

from hypothesis import settings

# No test asserts a time: how long an example takes depends on what else the machine does.
# The same examples in every run, so that a suite that passed passes again; `make test-search` draws new ones.
settings.register_profile("repeat", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
