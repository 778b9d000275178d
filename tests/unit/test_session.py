"""What a session tells each of its connections."""

from __future__ import annotations

import mindsql


def test_the_last_statement_about_a_setting_is_the_one_that_is_kept() -> None:
    with mindsql.connect() as connection:
        connection.execute("CREATE SCHEMA other")
        for number in range(30):
            connection.execute(f"SET default_order = '{'DESC' if number % 2 else 'ASC'}'")
            connection.execute(f"SET VARIABLE n = {number}")
            connection.execute("RESET SESSION default_null_order")
            connection.execute("USE other")
            connection.execute("SET schema = 'main'")
        session = connection._session
        assert len(session.replayed) == 5
        raw = session.cursor()
        asked = "SELECT getvariable('n'), current_setting('default_order'), current_schema()"
        assert raw.execute(asked).fetchall() == [(29, "DESC", "main")]
        raw.close()
