"""Benchmarks: ``python -m bench`` runs all and prints one table; each alone prints JSON lines.

Every row names the commit and the machine, and stands beside a bare baseline from the same run.
"""
