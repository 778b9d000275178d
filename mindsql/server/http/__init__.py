"""The HTTP door: SQL at `/api/sql/query`, and every model at `/models/{name}`."""
