"""Tests of `e2i_pipeline.resources.pushdown`."""
