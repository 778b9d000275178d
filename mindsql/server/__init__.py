"""One database opened to many: SQL over HTTP and the MySQL wire, and every model as a REST endpoint.

The doors (`http/`, `mysql/`) know their protocols and no more. What they share lies beside them: sessions and limits
in `service`, who may do what in `access` and `tokens`.
"""
