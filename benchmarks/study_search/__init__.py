"""The arms of the bars of the study: the product, and loops that people write by hand."""
