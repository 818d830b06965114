"""What all tests have in common."""

from hypothesis import settings

# no test asserts a time: how long an example takes depends on what else the machine does
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
