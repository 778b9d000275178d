"""What queries mean: text tests run through every door, and a differential test against DuckDB alone."""
