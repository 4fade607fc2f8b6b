"""E2I's machine-learning foundation as Dagster assets.

The map; imports go from left to right only, and CI checks it:

    definitions -> defs -> resources | storage | policies | failures | serving
                -> domain | config | metadata -> contracts -> errors

`defs` says what exists and when, `resources` what we talk to, `domain` what we know, `contracts` what crosses a
boundary.
"""

__version__ = "0.1.0"
