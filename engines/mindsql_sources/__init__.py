"""The databases that come with the server: a module for each, which sees the contract `mindsql.source` alone."""
