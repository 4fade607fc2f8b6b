"""The default graph as one plain program: the reference of `step_overhead`.

It makes the tool calls of the product on the same data, with the same seeds and splits, and uses the product's pure
functions (`domain`, `contracts`), but neither Dagster nor an adapter of ours. It keeps no ledger, no spans, no content
hashes, no locks and no pages: that is what the product adds, and what the bar measures. Started as
`python -m benchmarks.plain_script <folder> <brand> <journeys per brand>`.
"""
