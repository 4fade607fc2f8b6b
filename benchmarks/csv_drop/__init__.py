"""What the bar `landing_csv` runs: a drop of CSV files, landed by the product and converted by DuckDB alone."""
