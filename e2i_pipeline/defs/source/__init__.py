"""The source tables as staged, and the quality gate on them."""
