"""Benchmarks: ours beside the program a good engineer would write by hand, as ratios within one run."""
