"""Bars: what the product may cost beside a reference, measured the same way each time. `make bench` runs them.

Each module of this folder is one bar. How bars are run, judged and written down stands in `frame/`; the reference of
`step_overhead` is the program in `plain_script/`. What a result means stands in docs/benchmarks.md.
"""
