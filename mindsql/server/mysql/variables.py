"""Owns MySQL's system variables: what a client may ask for and set, and which of it has an effect here."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import UTC, timedelta, timezone, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from mysql_mimic.charset import CharacterSet

from mindsql.server.mysql.errors import MySQLError

Value: TypeAlias = str | int | float | bool | None

VERSION = "8.0.36-MindSQL"
NO_BACKSLASH_ESCAPES = "NO_BACKSLASH_ESCAPES"
BACKSLASH_MODE = "ANSI_QUOTES,PIPES_AS_CONCAT"
"""The `sql_mode` in which `\\` escapes."""

_EFFECTIVE: dict[str, Value] = {
    "autocommit": True,
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
    "sql_mode": f"{BACKSLASH_MODE},{NO_BACKSLASH_ESCAPES}",
    "sql_select_limit": 2**64 - 1,
    "time_zone": "+00:00",
    "transaction_isolation": "READ-COMMITTED",
    "transaction_read_only": False,
}
"""Setting one of these changes what the session does."""

_KEPT: dict[str, Value] = {
    "auto_increment_increment": 1,
    "collation_connection": "utf8mb4_general_ci",
    "default_storage_engine": "DuckDB",
    "foreign_key_checks": True,
    "group_concat_max_len": 1048576,
    "init_connect": "",
    "innodb_lock_wait_timeout": 50,
    "interactive_timeout": 28800,
    "lock_wait_timeout": 50,
    "max_execution_time": 0,
    "max_join_size": 2**64 - 1,
    "net_buffer_length": 16384,
    "net_read_timeout": 28800,
    "net_write_timeout": 28800,
    "optimizer_switch": "",
    "profiling": False,
    "sql_auto_is_null": False,
    "sql_big_selects": True,
    "sql_log_bin": False,
    "sql_notes": True,
    "sql_quote_show_create": True,
    "sql_safe_updates": False,
    "sql_warnings": False,
    "unique_checks": True,
    "wait_timeout": 28800,
}
"""These are kept and told, with a warning that they change nothing."""

_FIXED: dict[str, Value] = {
    "character_set_database": "utf8mb4",
    "character_set_server": "utf8mb4",
    "character_set_system": "utf8mb4",
    "collation_database": "utf8mb4_general_ci",
    "collation_server": "utf8mb4_general_ci",
    "default_tmp_storage_engine": "DuckDB",
    "event_scheduler": "OFF",
    "gtid_mode": "OFF",
    "have_ssl": "YES",
    "hostname": "mindsql",
    "innodb_version": None,
    "license": "MIT",
    "log_bin": False,
    "lower_case_file_system": False,
    "lower_case_table_names": 2,
    "max_allowed_packet": 64 * 2**20,
    "performance_schema": False,
    "protocol_version": 10,
    "query_cache_size": 0,
    "query_cache_type": "OFF",
    "read_only": False,
    "storage_engine": "DuckDB",
    "super_read_only": False,
    "system_time_zone": "UTC",
    "version": VERSION,
    "version_comment": "MindSQL",
    "version_compile_machine": "",
    "version_compile_os": "",
}
_ALIASES = {"tx_isolation": "transaction_isolation", "tx_read_only": "transaction_read_only"}
_DEFAULTS: dict[str, Value] = {**_EFFECTIVE, **_KEPT, **_FIXED}
_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d\d)")
_ISOLATION = ("READ-UNCOMMITTED", "READ-COMMITTED", "REPEATABLE-READ")


class Variables:
    """The system variables of one session, and the variables of its user (`@name`)."""

    def __init__(self) -> None:
        self._set: dict[str, Value] = {}
        self.user: dict[str, Value] = {}

    @staticmethod
    def knows(name: str) -> bool:
        """Whether MySQL has a variable of that name, and we know it."""
        return _ALIASES.get(name.lower(), name.lower()) in _DEFAULTS

    def get(self, name: str) -> Value:
        """The value of a system variable. Raises MySQLError (1193)."""
        key = _ALIASES.get(name.lower(), name.lower())
        if key not in _DEFAULTS:
            raise MySQLError(f'unknown system variable "{name}"', 1193, "HY000")
        value: Value = self._set.get(key, _DEFAULTS[key])
        return value

    def items(self) -> Iterator[tuple[str, Value]]:
        """All variables, by name."""
        return ((name, self._set.get(name, _DEFAULTS[name])) for name in sorted(_DEFAULTS))

    def set(self, name: str, value: Value) -> str | None:
        """Set a variable of the session; None means its default. Returns a warning, if there is one.

        Raises:
            MySQLError: There is no such variable (1193), it cannot be set (1238), or not to this value (1231).
        """
        key = _ALIASES.get(name.lower(), name.lower())
        self.get(key)
        if key in _FIXED:
            raise MySQLError(f'"{name}" cannot be set', 1238, "HY000")
        default = _DEFAULTS[key]
        if value is None:
            value = default
        elif isinstance(default, bool):
            value = _truth(name, value)
        elif isinstance(default, int):
            value = _whole(name, value)
        self._set[key] = _checked(key, value)
        if key in _KEPT and value != default:
            return f'"{name}" is kept and told, but changes nothing here'
        return None

    def set_names(self, charset: str) -> None:
        """SET NAMES: how the client writes, and how it wants to read."""
        for name in ("character_set_client", "character_set_connection", "character_set_results"):
            self.set(name, charset)

    def charset(self, which: str) -> CharacterSet:
        """A character set: of `character_set_client` or `character_set_results`."""
        return character_set(str(self.get(which)))

    @property
    def backslashes(self) -> bool:
        """Whether `\\` escapes in strings, as MySQL has it unless the mode says otherwise."""
        return NO_BACKSLASH_ESCAPES not in str(self.get("sql_mode")).upper()

    @property
    def zone(self) -> tzinfo:
        """The time zone in which moments are told."""
        return _zone(str(self.get("time_zone")))


def character_set(name: str) -> CharacterSet:
    """A character set by name. Raises MySQLError (1115)."""
    folded = name.lower()
    try:
        found = CharacterSet["utf8mb4" if folded in ("utf8mb3", "utf8", "null", "") else folded]
        codecs.lookup(found.codec)
        return found
    except LookupError as error:
        raise MySQLError(
            f'unknown character set "{name}"', 1115, "42000", hint="SET NAMES utf8mb4"
        ) from error


def _checked(name: str, value: Value) -> Value:
    if name.startswith("character_set"):
        return str(character_set(str(value)).name)
    if name == "time_zone":
        _zone(str(value))
    if name == "transaction_isolation":
        level = str(value).upper().replace(" ", "-")
        if level not in _ISOLATION:
            hint = f"DuckDB's transactions see a snapshot; there are: {', '.join(_ISOLATION)}"
            raise MySQLError(f"the isolation level {value} does not exist here", 1231, "42000", hint=hint)
        return level
    return value


def _zone(name: str) -> tzinfo:
    found = _OFFSET.fullmatch(name)
    if found is not None:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    if name.upper() in ("SYSTEM", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise MySQLError(f'unknown time zone "{name}"', 1298, "HY000") from error


def _truth(name: str, value: Value) -> bool:
    folded = str(value).upper()
    if folded in ("1", "ON", "TRUE"):
        return True
    if folded in ("0", "OFF", "FALSE"):
        return False
    raise MySQLError(f'"{name}" cannot be set to {value}', 1231, "42000", hint="it is ON or OFF")


def _whole(name: str, value: Value) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise MySQLError(
            f'"{name}" cannot be set to {value}', 1232, "42000", hint="it is a number"
        ) from error
