"""Tests of `e2i_pipeline.domain`."""
