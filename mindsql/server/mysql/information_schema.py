"""Owns the picture of the database that MySQL clients look for: its `information_schema`, as SQL over ours.

A *database* of MySQL's is the open file (its schema `main`), another schema of it, a project, or a source. Models are
in the database of their project, as relations of the type MODEL.
"""

from __future__ import annotations

from mindsql.database import literal
from mindsql.server.mysql.types import TYPES
from mindsql.system import values

_DATABASE = (
    "CASE WHEN {0}_catalog = system.main.current_database() AND {0}_schema <> 'main' "
    "THEN {0}_schema ELSE {0}_catalog END"
)
_TABLE_DATABASE = _DATABASE.format("table")
_VISIBLE = "table_schema <> 'mindsql'"

_TYPE_CASE = (
    "CASE data_type "
    + " ".join(f"WHEN {literal(name)} THEN {literal(kind.name)}" for name, kind in TYPES.items())
    + " ELSE CASE WHEN data_type LIKE 'DECIMAL%' THEN lower(data_type)"
    " WHEN data_type LIKE 'ENUM%' THEN 'enum' || replace(substring(data_type, 5), ', ', ',')"
    " WHEN data_type LIKE '%]' OR data_type LIKE 'STRUCT%' OR data_type LIKE 'MAP%' OR data_type LIKE 'UNION%'"
    " THEN 'json' ELSE 'text' END END"
)

_SCHEMATA = f"""
SELECT 'def' AS "CATALOG_NAME", name AS "SCHEMA_NAME", 'utf8mb4' AS "DEFAULT_CHARACTER_SET_NAME",
  'utf8mb4_general_ci' AS "DEFAULT_COLLATION_NAME", NULL::VARCHAR AS "SQL_PATH", 'NO' AS "DEFAULT_ENCRYPTION"
FROM (SELECT {_DATABASE.replace("{0}_catalog", "catalog_name").replace("{0}_schema", "schema_name")} AS name
  FROM information_schema.schemata
  WHERE schema_name <> 'mindsql' AND catalog_name NOT IN ('system', 'temp')
  UNION SELECT name FROM information_schema.projects
  UNION SELECT name FROM information_schema.databases
  UNION SELECT 'information_schema')"""

_TABLES = f"""
SELECT 'def' AS "TABLE_CATALOG", db AS "TABLE_SCHEMA", name AS "TABLE_NAME", kind AS "TABLE_TYPE",
  CASE WHEN kind = 'BASE TABLE' THEN 'DuckDB' END AS "ENGINE", 10 AS "VERSION", 'Dynamic' AS "ROW_FORMAT",
  NULL::BIGINT AS "TABLE_ROWS", NULL::BIGINT AS "AVG_ROW_LENGTH", NULL::BIGINT AS "DATA_LENGTH",
  NULL::BIGINT AS "MAX_DATA_LENGTH", NULL::BIGINT AS "INDEX_LENGTH", NULL::BIGINT AS "DATA_FREE",
  NULL::BIGINT AS "AUTO_INCREMENT", NULL::TIMESTAMP AS "CREATE_TIME", NULL::TIMESTAMP AS "UPDATE_TIME",
  NULL::TIMESTAMP AS "CHECK_TIME", 'utf8mb4_general_ci' AS "TABLE_COLLATION", NULL::BIGINT AS "CHECKSUM",
  '' AS "CREATE_OPTIONS", coalesce(note, '') AS "TABLE_COMMENT"
FROM (SELECT {_TABLE_DATABASE} AS db, table_name AS name,
    CASE table_type WHEN 'VIEW' THEN 'VIEW' ELSE 'BASE TABLE' END AS kind, "TABLE_COMMENT" AS note
  FROM information_schema.tables WHERE {_VISIBLE}{{ours}})"""
_OUR_TABLES = """
  UNION ALL SELECT project, name, 'VIEW', NULL FROM information_schema.views
  UNION ALL SELECT project, name, 'MODEL', NULL FROM information_schema.models WHERE active"""

_KEYS = """
SELECT k.table_catalog, k.table_schema, k.table_name, k.column_name,
  min(CASE c.constraint_type WHEN 'PRIMARY KEY' THEN 1 WHEN 'UNIQUE' THEN 2 ELSE 3 END) AS rank
FROM information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS c
  USING (constraint_catalog, constraint_schema, constraint_name, table_name)
GROUP BY ALL"""

_COLUMNS = f"""
SELECT 'def' AS "TABLE_CATALOG", db AS "TABLE_SCHEMA", relation AS "TABLE_NAME", name AS "COLUMN_NAME",
  position AS "ORDINAL_POSITION", initial AS "COLUMN_DEFAULT", nullable AS "IS_NULLABLE",
  regexp_extract({_TYPE_CASE}, '^[a-z]+') AS "DATA_TYPE",
  CASE WHEN data_type = 'VARCHAR' THEN 65535 END AS "CHARACTER_MAXIMUM_LENGTH",
  CASE WHEN data_type = 'VARCHAR' THEN 262140 END AS "CHARACTER_OCTET_LENGTH",
  digits AS "NUMERIC_PRECISION", scale AS "NUMERIC_SCALE",
  CASE WHEN data_type LIKE 'TIME%' THEN 6 END AS "DATETIME_PRECISION",
  CASE WHEN data_type = 'VARCHAR' THEN 'utf8mb4' END AS "CHARACTER_SET_NAME",
  CASE WHEN data_type = 'VARCHAR' THEN 'utf8mb4_general_ci' END AS "COLLATION_NAME",
  {_TYPE_CASE} AS "COLUMN_TYPE",
  CASE rank WHEN 1 THEN 'PRI' WHEN 2 THEN 'UNI' WHEN 3 THEN 'MUL' ELSE '' END AS "COLUMN_KEY",
  CASE WHEN generated THEN 'VIRTUAL GENERATED' ELSE '' END AS "EXTRA", 'select' AS "PRIVILEGES",
  coalesce(note, '') AS "COLUMN_COMMENT", '' AS "GENERATION_EXPRESSION", NULL::BIGINT AS "SRS_ID"
FROM (SELECT {_TABLE_DATABASE.replace("table_", "c.table_")} AS db, c.table_name AS relation, c.column_name AS name,
    c.ordinal_position AS position, c.column_default AS initial, c.is_nullable AS nullable,
    c.data_type AS data_type, CASE WHEN c.numeric_precision_radix = 10 THEN c.numeric_precision END AS digits,
    c.numeric_scale AS scale, k.rank AS rank, c.is_generated = 'ALWAYS' AS generated, c."COLUMN_COMMENT" AS note
  FROM information_schema.columns AS c LEFT JOIN ({_KEYS}) AS k
    USING (table_catalog, table_schema, table_name, column_name)
  WHERE c.table_schema <> 'mindsql'{{ours}})"""
_OUR_COLUMNS = """
  UNION ALL SELECT project, model, name,
    row_number() OVER (PARTITION BY project, model ORDER BY role DESC)::INTEGER, NULL, 'YES', "type",
    NULL, NULL, NULL, false, role
  FROM information_schema.model_columns JOIN
    (SELECT project, name AS model, version FROM information_schema.models WHERE active) AS active
    USING (project, model, version)"""

_STATISTICS = f"""
SELECT 'def' AS "TABLE_CATALOG", {_TABLE_DATABASE.replace("table_", "c.table_")} AS "TABLE_SCHEMA",
  c.table_name AS "TABLE_NAME", 0 AS "NON_UNIQUE",
  {_TABLE_DATABASE.replace("table_", "c.table_")} AS "INDEX_SCHEMA",
  CASE c.constraint_type WHEN 'PRIMARY KEY' THEN 'PRIMARY' ELSE c.constraint_name END AS "INDEX_NAME",
  k.ordinal_position AS "SEQ_IN_INDEX", k.column_name AS "COLUMN_NAME", 'A' AS "COLLATION",
  NULL::BIGINT AS "CARDINALITY", NULL::BIGINT AS "SUB_PART", NULL::VARCHAR AS "PACKED", '' AS "NULLABLE",
  'BTREE' AS "INDEX_TYPE", '' AS "COMMENT", '' AS "INDEX_COMMENT", 'YES' AS "IS_VISIBLE",
  NULL::VARCHAR AS "EXPRESSION"
FROM information_schema.table_constraints AS c JOIN information_schema.key_column_usage AS k
  USING (constraint_catalog, constraint_schema, constraint_name, table_name)
WHERE c.constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND c.table_schema <> 'mindsql'"""

_CONSTRAINTS = f"""
SELECT 'def' AS "CONSTRAINT_CATALOG", {_TABLE_DATABASE} AS "CONSTRAINT_SCHEMA",
  CASE constraint_type WHEN 'PRIMARY KEY' THEN 'PRIMARY' ELSE constraint_name END AS "CONSTRAINT_NAME",
  {_TABLE_DATABASE} AS "TABLE_SCHEMA", table_name AS "TABLE_NAME", constraint_type AS "CONSTRAINT_TYPE",
  'YES' AS "ENFORCED"
FROM information_schema.table_constraints
WHERE {_VISIBLE} AND constraint_type IN ('PRIMARY KEY', 'UNIQUE', 'FOREIGN KEY')"""

_USAGE = f"""
SELECT 'def' AS "CONSTRAINT_CATALOG", {_TABLE_DATABASE.replace("table_", "k.table_")} AS "CONSTRAINT_SCHEMA",
  CASE c.constraint_type WHEN 'PRIMARY KEY' THEN 'PRIMARY' ELSE k.constraint_name END AS "CONSTRAINT_NAME",
  'def' AS "TABLE_CATALOG", {_TABLE_DATABASE.replace("table_", "k.table_")} AS "TABLE_SCHEMA",
  k.table_name AS "TABLE_NAME", k.column_name AS "COLUMN_NAME", k.ordinal_position AS "ORDINAL_POSITION",
  k.position_in_unique_constraint AS "POSITION_IN_UNIQUE_CONSTRAINT",
  CASE WHEN u.table_name IS NOT NULL THEN {_TABLE_DATABASE.replace("table_", "u.table_")} END
    AS "REFERENCED_TABLE_SCHEMA",
  u.table_name AS "REFERENCED_TABLE_NAME", u.column_name AS "REFERENCED_COLUMN_NAME"
FROM information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS c
  USING (constraint_catalog, constraint_schema, constraint_name, table_name)
LEFT JOIN information_schema.referential_constraints AS r
  USING (constraint_catalog, constraint_schema, constraint_name)
LEFT JOIN information_schema.key_column_usage AS u
  ON u.constraint_catalog = r.unique_constraint_catalog AND u.constraint_schema = r.unique_constraint_schema
  AND u.constraint_name = r.unique_constraint_name AND u.ordinal_position = k.position_in_unique_constraint
WHERE k.table_schema <> 'mindsql'"""

_ENGINES = values(
    [(name, "VARCHAR") for name in ("ENGINE", "SUPPORT", "COMMENT", "TRANSACTIONS", "XA", "SAVEPOINTS")],
    [("DuckDB", "DEFAULT", "Tables, and models beside them", "YES", "NO", "NO")],
)
_CHARACTER_SETS = values(
    [("CHARACTER_SET_NAME", "VARCHAR"), ("DEFAULT_COLLATE_NAME", "VARCHAR"), ("DESCRIPTION", "VARCHAR"),
     ("MAXLEN", "INTEGER")],
    [("utf8mb4", "utf8mb4_general_ci", "UTF-8 Unicode", 4), ("latin1", "latin1_swedish_ci", "cp1252", 1)],
)  # fmt: skip
_COLLATIONS = values(
    [("COLLATION_NAME", "VARCHAR"), ("CHARACTER_SET_NAME", "VARCHAR"), ("ID", "INTEGER"),
     ("IS_DEFAULT", "VARCHAR"), ("IS_COMPILED", "VARCHAR"), ("SORTLEN", "INTEGER")],
    [("utf8mb4_general_ci", "utf8mb4", 45, "Yes", "Yes", 1), ("utf8mb4_bin", "utf8mb4", 46, "", "Yes", 1),
     ("latin1_swedish_ci", "latin1", 8, "Yes", "Yes", 1)],
)  # fmt: skip


def _none(*names: str) -> str:
    return values([(name, "VARCHAR") for name in names], [])


TABLES = {
    "schemata": _SCHEMATA,
    "tables": _TABLES.format(ours=_OUR_TABLES),
    "columns": _COLUMNS.format(ours=_OUR_COLUMNS),
    "statistics": _STATISTICS,
    "table_constraints": _CONSTRAINTS,
    "key_column_usage": _USAGE,
    "engines": _ENGINES,
    "character_sets": _CHARACTER_SETS,
    "collations": _COLLATIONS,
    "routines": _none("ROUTINE_SCHEMA", "ROUTINE_NAME", "ROUTINE_TYPE", "DATA_TYPE", "ROUTINE_COMMENT"),
    "parameters": _none("SPECIFIC_SCHEMA", "SPECIFIC_NAME", "PARAMETER_NAME", "DATA_TYPE"),
    "triggers": _none("TRIGGER_SCHEMA", "TRIGGER_NAME", "EVENT_OBJECT_TABLE", "ACTION_STATEMENT"),
    "events": _none("EVENT_SCHEMA", "EVENT_NAME", "STATUS"),
    "partitions": _none("TABLE_SCHEMA", "TABLE_NAME", "PARTITION_NAME"),
    "plugins": _none("PLUGIN_NAME", "PLUGIN_STATUS", "PLUGIN_TYPE"),
}
"""Tables of MySQL's `information_schema` that DuckDB has not, or has otherwise. The others stay as they are."""
PLAIN_TABLES = _TABLES.format(ours="")
PLAIN_COLUMNS = _COLUMNS.format(ours="")
"""As above without models and views of ours: DuckDB answers them alone, which takes a tenth of the time."""
