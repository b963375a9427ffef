"""Side-by-side measurements: ``python -m benchmarks [case ...]``, or ``make bench``."""
