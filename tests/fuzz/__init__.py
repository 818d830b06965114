"""A seeded fuzzer of everything that comes from outside; `make fuzz` runs it, the test suite does not."""
