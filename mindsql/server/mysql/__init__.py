"""The MySQL door: what MySQL's clients and drivers speak, on the packets of mysql-mimic.

listener        the door: connections and their numbers
connection      one client: the protocol's commands      stream, rows, types, parameters, auth, errors
client_session  what it has said: statements, SET, USE, transactions
compatibility   what clients ask of any MySQL server     information_schema, variables, lexer
"""

from mindsql.server.mysql.listener import Listener, start

__all__ = ["Listener", "start"]
