"""Owns the answers that need not be asked for again: those to equal rows of one statement, where an engine says that
asking is dear, and those kept in the database, where the model says `cache = true`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.catalog import Catalog
from mindsql.database import Database
from mindsql.engine import Context, numbering, working_for
from mindsql.errors import MindSQLError
from mindsql.executor.deduplicate import Deduplicator
from mindsql.executor.engines import LoadedModel
from mindsql.executor.spilling_memo import KEY_BYTES, SpillingMemo, key_array
from mindsql.snapshot import Version

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 4096
"""Rows that are Python values at the same time."""
_VIEW = "__mindsql_keys"


class PredictionCache:
    """The kept answers of one version, in the database.

    Args:
        database: Where.
        version: Whose.
    """

    def __init__(self, database: Database, version: Version) -> None:
        self._database = database
        self._version = version.id

    def get(self, keys: Sequence[bytes]) -> dict[bytes, list[Any]]:
        """The answers there are, as `put` was given them."""
        import pyarrow as pa

        raw = self._database.cursor()
        try:
            catalog = Catalog(self._database, raw)
            if self._database.read_only and not catalog.has("_answers"):
                return {}  # a file of an older release, which stays as it is
            raw.register(_VIEW, pa.table({"key": pa.array(keys, pa.binary())}))
            found = database.rows(
                raw,
                f"SELECT key, system.main.any_value(answer) FROM {catalog.table('_answers')} "
                f"SEMI JOIN {_VIEW} USING (key) WHERE version = $1 GROUP BY key",
                [self._version],
            )
            return {bytes(key): json.loads(answer) for key, answer in found}
        finally:
            raw.close()

    def put(self, answers: Mapping[bytes, list[Any]]) -> None:
        """Keep answers. That they could not be kept is no reason to fail: they are asked for again."""
        import pyarrow as pa

        if self._database.read_only or not answers:
            return
        raw = self._database.cursor()
        try:
            catalog = Catalog(self._database, raw)
            texts = [json.dumps(values) for values in answers.values()]
            raw.register(_VIEW, pa.table({"key": pa.array(list(answers), pa.binary()), "answer": texts}))
            database.run(
                raw,
                f"INSERT INTO {catalog.table('_answers')} SELECT $1, key, answer FROM {_VIEW}",
                [self._version],
            )
        except MindSQLError:
            pass
        finally:
            raw.close()


class BatchPredictor:
    """Asks one model on behalf of one statement.

    Args:
        model: The model.
        outputs: The outputs wanted.
        params: The options of the query's USING.
        context: What the engine may know of the statement.
        store: Where answers are kept from statement to statement, if they are.
        once: Whether rows of a batch that are equal may be asked for once.
    """

    def __init__(
        self,
        model: LoadedModel,
        outputs: Sequence[str],
        params: Mapping[str, Any],
        context: Context,
        store: PredictionCache | None = None,
        once: bool = False,
    ) -> None:
        self.context = context
        self._model = model
        self._outputs = list(outputs)
        self._params = params
        self._store = store
        self._remembered = SpillingMemo()
        self._repeats = Deduplicator() if once else None
        error = f"{model.version.outputs.names[0]}_error"
        self._error = next((c.name for c in model.version.outputs if c.name == error), None)

    def close(self) -> None:
        """The statement is over."""
        self._remembered.close()

    def answer(self, batch: pa.RecordBatch, first: int = 0) -> list[pa.Array]:
        """One array for each output; `first` is the batch's first row among all. Raises what `LoadedModel.answer`
        raises."""
        with self._model.turn(self.context.stopped), working_for(self.context):
            if self._store is not None or self._model.capabilities.ask_once:
                return self._once(batch, first)
            found = self._repeats.find(batch) if self._repeats is not None else None
            if found is None:
                with numbering(lambda row: first + row):
                    return self._model.answer(batch, self._outputs, self._params)
            rows, place = found
            self._count("hits", batch.num_rows - len(rows))
            with numbering(lambda row: first + rows[row].as_py()):
                asked = self._model.answer(batch.take(rows), self._outputs, self._params)
            return [array.take(place) for array in asked]

    def _once(self, batch: pa.RecordBatch, start: int) -> list[pa.Array]:
        import numpy as np
        import pyarrow as pa

        encoded = self._keys(batch).dictionary_encode()
        keys, rows = encoded.dictionary, encoded.indices.to_numpy()
        known, remembered = self._remembered.get(keys)
        new = np.delete(np.arange(len(keys)), known)
        self._count("hits", batch.num_rows - len(new))
        asked: list[pa.Array] = []
        if len(new) == batch.num_rows:
            with numbering(lambda row: start + row):
                asked = self._new(batch, keys)
        elif len(new):
            first = np.unique(rows, return_index=True)[1][new]
            with numbering(lambda row: start + int(first[row])):
                asked = self._new(batch.take(pa.array(first)), keys.take(pa.array(new)))
        if len(new):
            self._remembered.put(keys.take(pa.array(new)), asked)
        if len(new) == batch.num_rows:
            return asked
        # Where the answer to each distinct row is: the remembered come first, then those asked for now.
        place = np.empty(len(keys), np.int64)
        place[known] = np.arange(len(known))
        place[new] = len(known) + np.arange(len(new))
        taken = pa.array(place[rows])
        both = [arrays for arrays in (remembered, asked) if arrays]
        return [pa.concat_arrays(list(arrays)).take(taken) for arrays in zip(*both, strict=True)]

    def _keys(self, batch: pa.RecordBatch) -> pa.Array:
        """One for each row: a digest of everything that its answer depends on but the version."""
        head = repr((self._outputs, sorted(self._params.items()))).encode()
        seed = hashlib.blake2b(head, digest_size=KEY_BYTES)
        found = bytearray()
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            columns = batch.slice(start, _ROWS_AT_ONCE).columns
            for values in zip(*(column.to_pylist() for column in columns), strict=True):
                digest = seed.copy()
                digest.update(repr(values).encode("utf-8", "surrogatepass"))
                found += digest.digest()
        return key_array(bytes(found))

    def _new(self, batch: pa.RecordBatch, keys: pa.Array) -> list[pa.Array]:
        """Answers to rows not asked for in this statement: from the store, and for the rest from the engine."""
        import pyarrow as pa

        if self._store is None:
            return self._model.answer(batch, self._outputs, self._params)
        digests = keys.to_pylist()
        stored = self._store.get(digests)
        missing = [row for row, digest in enumerate(digests) if digest not in stored]
        types = [self._model.arrow_type(output) for output in self._outputs]
        self._count("hits", len(digests) - len(missing))
        asked = [pa.array([], type_) for type_ in types]
        if missing:
            names = list(self._outputs)
            if self._error is not None and self._error not in names:
                names.append(self._error)
            part = batch if len(missing) == len(digests) else batch.take(pa.array(missing))
            asked = self._model.answer(part, names, self._params)
            failed = asked[names.index(self._error)].is_valid().to_pylist() if self._error in names else []
            asked = asked[: len(self._outputs)]
            columns = [_plain(array).to_pylist() for array in asked]
            self._store.put(
                {
                    digests[row]: [column[index] for column in columns]
                    for index, row in enumerate(missing)
                    if not (failed and failed[index])
                }
            )
        if len(missing) == len(digests):
            return asked
        kept = [row for row, digest in enumerate(digests) if digest in stored]
        back = {row: index for index, row in enumerate([*missing, *kept])}
        order = pa.array([back[row] for row in range(len(digests))])
        result = []
        for i, (type_, array) in enumerate(zip(types, asked, strict=True)):
            plain = _plain(pa.array([], type_)).type
            values = pa.array([stored[digests[row]][i] for row in kept], plain).cast(type_)
            result.append(pa.concat_arrays([array, values]).take(order))
        return result

    def _count(self, name: str, more: int) -> None:
        if more:
            self.context.counts[name] = self.context.counts.get(name, 0) + more


def _plain(array: pa.Array) -> pa.Array:
    """The same values in a type that JSON holds: dates and decimals as text, and bytes not at all."""
    import pyarrow as pa

    check = pa.types
    if (
        check.is_integer(array.type)
        or check.is_floating(array.type)
        or check.is_boolean(array.type)
        or check.is_string(array.type)
        or check.is_list(array.type)
        or check.is_null(array.type)
    ):
        return array
    return array.cast(pa.string())
