"""Owns the answers that need not be asked for again: those to equal rows of one statement, where an engine says that
asking is dear, and those kept in the database, where the model says `cache = true`."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mindsql import database
from mindsql.catalog import Catalog, Version
from mindsql.database import Database
from mindsql.engine import Context, working_for
from mindsql.errors import MindSQLError
from mindsql.executor.engines import LoadedModel

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 131_072
_MOST_BYTES = 64 << 20
"""What one statement remembers, at the most: its memory must not grow with the table."""
_VIEW = "__mindsql_keys"


class Store:
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
            if not catalog.has("_answers"):
                return {}
            raw.register(_VIEW, pa.table({"key": pa.array(keys, pa.binary())}))
            found = database.rows(
                raw,
                f"SELECT key, any_value(answer) FROM {catalog.table('_answers')} SEMI JOIN {_VIEW} USING (key) "
                "WHERE version = $1 GROUP BY key",
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
            catalog.make("_answers")
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


class Asker:
    """Asks one model on behalf of one statement.

    Args:
        model: The model.
        outputs: The outputs wanted.
        params: The options of the query's USING.
        context: What the engine may know of the statement.
        store: Where answers are kept from statement to statement, if they are.
    """

    def __init__(
        self,
        model: LoadedModel,
        outputs: Sequence[str],
        params: Mapping[str, Any],
        context: Context,
        store: Store | None = None,
    ) -> None:
        self.context = context
        self._model = model
        self._outputs = list(outputs)
        self._params = params
        self._store = store
        self._where: dict[bytes, tuple[int, int]] = {}
        self._chunks: OrderedDict[int, tuple[list[pa.Array], list[bytes]]] = OrderedDict()
        self._next = 0
        error = f"{model.version.outputs.names[0]}_error"
        self._error = next((c.name for c in model.version.outputs if c.name == error), None)

    def answer(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """One array for each output. Raises what `LoadedModel.answer` raises."""
        with self._model.turn(self.context.stopped), working_for(self.context):
            if self._store is None and not self._model.capabilities.ask_once:
                return self._model.answer(batch, self._outputs, self._params)
            return self._once(batch)

    def _once(self, batch: pa.RecordBatch) -> list[pa.Array]:
        import pyarrow as pa

        digests = self._digests(batch)
        new: dict[bytes, int] = {}
        rows: list[int] = []
        places: list[tuple[int, int]] = []
        number = self._next
        for row, digest in enumerate(digests):
            place = self._where.get(digest)
            if place is None:
                if digest not in new:
                    new[digest] = len(rows)
                    rows.append(row)
                place = (number, new[digest])
            places.append(place)
        if len(rows) == batch.num_rows:
            answers = self._new(batch, list(new))
            self._remember(answers, list(new))
            self._forget()
            return answers
        self._count("hits", batch.num_rows - len(rows))
        if rows:
            self._remember(self._new(batch.take(pa.array(rows)), list(new)), list(new))
        used = sorted({chunk for chunk, _ in places})
        starts, start = {}, 0
        for chunk in used:
            starts[chunk] = start
            start += len(self._chunks[chunk][1])
        taken = pa.array([starts[chunk] + row for chunk, row in places])
        result = [
            pa.concat_arrays([self._chunks[chunk][0][i] for chunk in used]).take(taken)
            for i in range(len(self._outputs))
        ]
        self._forget()
        return result

    def _digests(self, batch: pa.RecordBatch) -> list[bytes]:
        """One for each row, of everything that its answer depends on but the version."""
        head = repr((self._outputs, sorted(self._params.items()))).encode()
        seed = hashlib.blake2b(head, digest_size=16)
        found = []
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest = seed.copy()
            digest.update(repr(values).encode("utf-8", "surrogatepass"))
            found.append(digest.digest())
        return found

    def _new(self, batch: pa.RecordBatch, digests: list[bytes]) -> list[pa.Array]:
        """Answers to rows not asked for in this statement: from the store, and for the rest from the engine."""
        import pyarrow as pa

        if self._store is None:
            return self._model.answer(batch, self._outputs, self._params)
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

    def _remember(self, answers: list[pa.Array], digests: list[bytes]) -> None:
        number = self._next
        self._next += 1
        self._chunks[number] = (answers, digests)
        self._where.update((digest, (number, row)) for row, digest in enumerate(digests))

    def _forget(self) -> None:
        while len(self._chunks) > 1 and (
            len(self._where) > _MOST_ROWS
            or sum(array.nbytes for arrays, _ in self._chunks.values() for array in arrays) > _MOST_BYTES
        ):
            _, (_, digests) = self._chunks.popitem(last=False)
            for digest in digests:
                del self._where[digest]

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
