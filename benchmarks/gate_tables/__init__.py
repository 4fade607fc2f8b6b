"""The four source tables, landed once; the gate over all of them, and a plain pass over all of them."""
