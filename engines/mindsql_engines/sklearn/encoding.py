"""Owns the matrix: how rows of columns become rows of numbers, the same in training and in prediction.

An `Encoder` is fitted on Arrow columns and then is plain data (JSON, and scikit-learn's own text vectorisers
beside it), so it can be stored without any class of ours. The matrix has three parts: *plain* columns (numbers,
booleans, parts of dates, items of vectors, category codes), flags for missing numbers, and blocks (one-hot values,
components of texts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mindsql_engines.sklearn import columns, text_vectorizer
from mindsql_engines.sklearn.estimators import Style
from mindsql_engines.sklearn.features import Feature
from mindsql_engines.sklearn.spelling import Spelling

if TYPE_CHECKING:
    from mindsql_engines.sklearn.columns import Codes, Numbers

_PARTS_OF_TIME = ["seconds"]
_TEXT_BINS = 10
_BLOCK = 2**18
"""So many numbers of several columns are worked on at once: they stay in the processor's cache."""


@dataclass
class Categories:
    """The values of a category column by frequency, and one more code for rare ones if there are some."""

    values: list[str]
    rare: bool
    missing: bool
    array: pa.Array = field(init=False, repr=False, compare=False)
    codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.array = pa.array(self.values, pa.string())
        self.codes = {value: code for code, value in enumerate(self.values)}

    @property
    def size(self) -> int:
        """How many codes there are, without the one for missing values."""
        return len(self.values) + self.rare

    @classmethod
    def fit(cls, array: pa.Array, most: int) -> Categories:
        """Learn them from a column; of more than `most` values the most frequent are kept."""
        array = columns.texts(array)
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        counts = np.bincount(
            array.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(array.dictionary)
        )
        pairs = [(-int(n), v) for v, n in zip(array.dictionary.to_pylist(), counts, strict=True) if n]
        ordered = [value for _, value in sorted(pairs)]
        rare = len(ordered) > most
        return cls(ordered[: most - 1] if rare else ordered, rare, array.null_count > 0)

    def encode(self, array: pa.Array, missing: int, unseen: int) -> Codes:
        """The code of every value; rare ones have the last, and unseen ones count as rare if some are."""
        if self.rare:
            unseen = len(self.values)
        if len(array) <= columns.SMALL:
            get = self.codes.get
            found = [
                missing if v is None else get(v if isinstance(v, str) else str(v), unseen)
                for v in array.to_pylist()
            ]
            return np.array(found, dtype=np.int64)
        array = columns.texts(array)
        if pa.types.is_dictionary(array.type):
            of_values = self._find(array.dictionary, missing, unseen)
            at = array.indices.fill_null(len(of_values)).to_numpy(zero_copy_only=False)
            found_at: Codes = np.append(of_values, missing)[at]
            return found_at
        return self._find(array, missing, unseen)

    def _find(self, array: pa.Array, missing: int, unseen: int) -> Codes:
        index = pc.index_in(array, value_set=self.array)
        found: Codes = index.fill_null(unseen).to_numpy(zero_copy_only=False).astype(np.int64)
        if array.null_count:
            found[array.is_null().to_numpy(zero_copy_only=False)] = missing
        return found


@dataclass
class Column:
    """How one input column becomes columns of the matrix.

    Attributes:
        spelling: How its numbers or dates are written, when they are text.
        start: The first of its plain columns; -1 when it has none.
        block: The first column of its block; -1 when it has none.
        width: How many plain columns or block columns it has.
    """

    name: str
    role: str
    start: int = -1
    block: int = -1
    width: int = 1
    parts: list[str] = field(default_factory=list)
    categories: Categories | None = None
    edges: list[list[float]] | None = None
    spelling: Spelling | None = None


@dataclass
class Encoder:
    """See the module. `fill` are medians, `flags` plain columns with a flag, `shift` and `scale` scaling."""

    style: Style
    columns: list[Column]
    plain: int
    width: int
    fill: list[float] = field(default_factory=list)
    flags: list[int] = field(default_factory=list)
    shift: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    wordings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        features: list[Feature],
        arrays: Mapping[str, pa.Array],
        rows: int,
        style: Style,
        seed: int | None,
    ) -> Encoder:
        """Learn from the training rows."""
        made: list[Column] = []
        wordings: dict[str, Any] = {}
        for feature in features:
            column = Column(feature.name, feature.role, spelling=feature.spelling)
            if _is_number(column) and style.categories != "bins":
                made.append(column)
                continue
            array = arrays[feature.name]
            if feature.role == "text":
                words = text_vectorizer.fit(array, seed)
                if words is None:  # nothing to take apart: punctuation only
                    column.role = "category"
                else:
                    wordings[feature.name], column.width = words, text_vectorizer.width(words)
            if column.role == "date":
                column.parts = _useful_parts(_as_dates(column, array), feature.name)
                column.width = len(column.parts)
            if column.role == "vector":
                column.width = columns.width_of(array)
            if column.role == "category":
                column.categories = Categories.fit(array, style.most)
                if style.categories == "onehot":
                    c = column.categories
                    column.width = 1 if _binary(c) else c.size + c.missing
            if style.categories == "bins" and column.role in ("number", "boolean", "date", "vector"):
                column.edges = [_edges(values) for values in _numbers(column, array)]
            made.append(column)
        encoder = cls(style, made, 0, 0, wordings=wordings)
        encoder._lay_out()
        encoder._learn(arrays, rows)
        return encoder

    def _is_block(self, column: Column) -> bool:
        return column.role == "text" or (column.role == "category" and self.style.categories == "onehot")

    def _lay_out(self) -> None:
        at = 0
        for column in self.columns:
            if not self._is_block(column):
                column.start, at = at, at + column.width
        self.plain = at
        at += len(self.flags)
        for column in self.columns:
            if self._is_block(column):
                column.block, at = at, at + column.width
        self.width = at

    def _grouped(self, rows: int) -> Iterator[list[Column]]:
        """Its columns in order, neighbours that hold plain numbers together: a call costs more than few rows do."""
        most = _BLOCK // rows if rows > columns.SMALL else 1
        group: list[Column] = []
        for column in self.columns:
            number = most > 1 and column.edges is None and _is_number(column)
            if group and not (number and len(group) < most and column.start == group[-1].start + 1):
                yield group
                group = []
            if number:
                group.append(column)
            else:
                yield [column]
        if group:
            yield group

    def _learn(self, arrays: Mapping[str, pa.Array], rows: int) -> None:
        """Medians, flags and scaling of the plain columns."""
        if self.style.categories == "bins" or not (self.style.impute or self.style.scaling != "none"):
            return
        self.fill, self.shift, self.scale = [0.0] * self.plain, [0.0] * self.plain, [1.0] * self.plain
        for group in self._grouped(rows):
            column = group[0]
            if column.start < 0 or column.role == "category":
                continue
            if len(group) > 1:
                self._learn_block(column.start, columns.block(arrays, [c.name for c in group], rows))
                continue
            for at, values in enumerate(_numbers(column, arrays[column.name]), column.start):
                self._learn_block(at, values[np.newaxis])
        self._lay_out()

    def _learn_block(self, start: int, block: Numbers) -> None:
        """Of columns that follow each other, in an array of shape (columns, rows)."""
        missing = np.isnan(block)
        gaps = missing.any(axis=1)
        fill = np.zeros(len(block))
        if not gaps.all():
            fill[~gaps] = _medians(block[~gaps] if gaps.any() else block)
        for row in np.flatnonzero(gaps):
            present = block[row][~missing[row]]
            if len(present):
                fill[row] = np.median(present)
                if self.style.impute:
                    self.flags.append(start + int(row))
        if self.style.impute and gaps.any():
            block = np.where(missing, fill[:, np.newaxis], block)
        shift, scale = np.zeros(len(block)), np.ones(len(block))
        if self.style.scaling in ("standard", "scale"):
            if self.style.scaling == "standard":
                shift = block.mean(axis=1)
            scale = block.std(axis=1)
        elif self.style.scaling == "unit":
            shift = block.min(axis=1)
            scale = block.max(axis=1) - shift
        scale[scale == 0] = 1.0
        for row in np.flatnonzero(~np.isfinite(scale)):
            shift[row], scale[row] = 0.0, np.max(np.abs(block[row]))
        end = start + len(block)
        self.fill[start:end], self.shift[start:end] = fill.tolist(), shift.tolist()
        self.scale[start:end] = scale.tolist()

    def matrix(self, arrays: Mapping[str, pa.Array], rows: int) -> Numbers:
        """The rows as numbers."""
        kind = np.float32 if self.style.single else np.float64
        made = np.empty((rows, self.width), dtype=kind)
        if self.width > self.plain:
            made[:, self.plain :] = 0.0
        for group in self._grouped(rows):
            column = group[0]
            if len(group) > 1:
                block = columns.block(arrays, [c.name for c in group], rows)
                made[:, column.start : column.start + len(group)] = block.T
                continue
            array = arrays[column.name]
            if column.role == "text":
                components = text_vectorizer.transform(self.wordings[column.name], array)
                if self.style.scaling == "unit":
                    components = (components + 1.0) / 2
                elif self.style.categories == "bins":
                    components = np.clip(np.floor((components + 1.0) * 5), 0, _TEXT_BINS - 1)
                made[:, column.block : column.block + column.width] = components
            elif column.categories is not None:
                self._put_category(made, column, column.categories, array)
            else:
                self._put_numbers(made, column, array)
        return self._finish(made)

    def is_sparse(self) -> bool:
        """Whether most of the matrix is zeros of one-hot columns."""
        if self.style.categories != "onehot" or any(column.role == "text" for column in self.columns):
            return False
        return 3 * (self._dense + sum(column.block >= 0 for column in self.columns)) < self.width

    @property
    def _dense(self) -> int:
        return self.plain + len(self.flags)

    def sparse(self, arrays: Mapping[str, pa.Array], rows: int) -> Any:
        """The same as `matrix`, in compressed rows that all hold equally many numbers."""
        from scipy.sparse import csr_matrix

        blocks = [column for column in self.columns if column.block >= 0]
        dense = np.zeros((rows, self._dense), dtype=np.float64)
        for column in self.columns:
            if column.block < 0:
                self._put_numbers(dense, column, arrays[column.name])
        self._finish(dense)
        per_row = self._dense + len(blocks)
        values = np.empty((rows, per_row), dtype=np.float64)
        places = np.empty((rows, per_row), dtype=np.int32)
        values[:, : self._dense] = dense
        places[:, : self._dense] = np.arange(self._dense)
        for at, column in enumerate(blocks, self._dense):
            known = column.categories
            assert known is not None
            if _binary(known):
                codes = known.encode(arrays[column.name], -1, -1)
                values[:, at] = np.where(codes < 0, 0.5, codes)
                places[:, at] = column.block
            else:
                codes = known.encode(arrays[column.name], known.size if known.missing else -1, -1)
                values[:, at] = codes >= 0
                places[:, at] = column.block + np.maximum(codes, 0)
        ends = np.arange(rows + 1, dtype=np.int32) * per_row
        return csr_matrix((values.reshape(-1), places.reshape(-1), ends), (rows, self.width))

    def _put_numbers(self, made: Numbers, column: Column, array: pa.Array) -> None:
        if column.edges is None:
            for at, values in enumerate(_numbers(column, array), column.start):
                made[:, at] = values
            return
        for at, (values, edges) in enumerate(
            zip(_numbers(column, array), column.edges, strict=True), column.start
        ):
            codes = np.searchsorted(edges, values, side="right")
            made[:, at] = np.where(np.isnan(values), len(edges) + 1, codes)

    def _put_category(self, made: Numbers, column: Column, categories: Categories, array: pa.Array) -> None:
        if self.style.categories == "native":
            codes = categories.encode(array, -1, -1)
            made[:, column.start] = np.where(codes < 0, np.nan, codes)
        elif self.style.categories == "codes":
            made[:, column.start] = categories.encode(array, -1, -1)
        elif self.style.categories == "bins":
            made[:, column.start] = categories.encode(array, categories.size, categories.size)
        elif _binary(categories):
            # Two values are one column; an unseen value stands between them.
            codes = categories.encode(array, -1, -1)
            made[:, column.block] = np.where(codes < 0, 0.5, codes)
        else:
            codes = categories.encode(array, categories.size if categories.missing else -1, -1)
            known = np.nonzero(codes >= 0)[0]
            made[known, column.block + codes[known]] = 1.0

    def _finish(self, made: Numbers) -> Numbers:
        if not self.fill:
            return made
        plain = made[:, : self.plain]
        if self.style.impute:
            missing = np.isnan(plain)
            if missing.any():
                for at, source in enumerate(self.flags, self.plain):
                    made[:, at] = missing[:, source]
                np.copyto(plain, self._constants()[0], where=missing)
        if self.style.scaling != "none":
            _, shift, scale = self._constants()
            plain -= shift
            plain /= scale
            if self.style.scaling == "unit":
                np.clip(plain, 0.0, 1.0, out=plain)
        return made

    def _constants(self) -> tuple[Numbers, Numbers, Numbers]:
        kept = self.__dict__.get("_kept")
        if kept is None:
            kept = tuple(np.array(values, dtype=np.float64) for values in (self.fill, self.shift, self.scale))
            self.__dict__["_kept"] = kept
        return kept

    def notes(self) -> list[str]:
        """Which columns have values that are not told apart, a sentence each."""
        return [
            f"{column.name}: the {len(column.categories.values)} most frequent values are told apart, "
            "all others count as one"
            for column in self.columns
            if column.categories is not None and column.categories.rare
        ]

    def places(self, column: Column) -> list[int]:
        """The matrix columns that an input column fills."""
        if column.block >= 0:
            return list(range(column.block, column.block + column.width))
        own = list(range(column.start, column.start + column.width))
        return own + [self.plain + at for at, source in enumerate(self.flags) if source in own]

    def native_categories(self) -> list[int]:
        """The matrix columns that a histogram estimator splits as categories."""
        if self.style.categories != "native":
            return []
        return [c.start for c in self.columns if c.role == "category"]

    def bin_counts(self) -> list[int]:
        """How many whole numbers each column can have, under the style `bins`."""
        counts = [_TEXT_BINS] * self.width
        for column in self.columns:
            if column.categories is not None:
                counts[column.start] = column.categories.size + 1
            elif column.edges is not None:
                for at, edges in enumerate(column.edges, column.start):
                    counts[at] = len(edges) + 2
        return counts

    def to_json(self) -> dict[str, Any]:
        """Everything but the text vectorisers."""
        made = []
        for column in self.columns:
            item: dict[str, Any] = {
                "name": column.name,
                "role": column.role,
                "start": column.start,
                "block": column.block,
                "width": column.width,
                "parts": column.parts,
                "edges": column.edges,
                "parse": column.spelling.to_json() if column.spelling is not None else False,
            }
            if column.categories is not None:
                c = column.categories
                item["categories"] = {"values": c.values, "rare": c.rare, "missing": c.missing}
            made.append(item)
        return {
            "style": asdict(self.style),
            "columns": made,
            "plain": self.plain,
            "width": self.width,
            "fill": self.fill,
            "flags": self.flags,
            "shift": self.shift,
            "scale": self.scale,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], wordings: dict[str, Any]) -> Encoder:
        """What `to_json` made, with the text vectorisers stored beside it."""
        made = []
        for item in data["columns"]:
            item = dict(item)
            categories = item.pop("categories", None)
            item["spelling"] = Spelling.of(item.pop("parse", None))
            made.append(Column(**item, categories=Categories(**categories) if categories else None))
        rest = {key: data[key] for key in ("plain", "width", "fill", "flags", "shift", "scale")}
        return cls(Style(**data["style"]), made, wordings=wordings, **rest)


def _numbers(column: Column, array: pa.Array) -> list[Numbers]:
    if column.role == "date":
        return columns.parts(_as_dates(column, array), column.parts, column.name)
    if column.role == "vector":
        return columns.vectors(array, column.width, column.name)
    if column.spelling is not None:
        return [column.spelling.read(array)]
    return [columns.numbers(array, column.name)]


def _medians(block: Numbers) -> Numbers:
    """The median of each row, in a sixth of the time of numpy's."""
    middle = block.shape[1] // 2
    parted = np.partition(block, middle, axis=1)
    upper: Numbers = parted[:, middle]
    return upper if block.shape[1] % 2 else (parted[:, :middle].max(axis=1) + upper) / 2


def _is_number(column: Column) -> bool:
    """Whether it is a column of numbers that are read as they are."""
    return column.role in ("number", "boolean") and column.spelling is None


def _as_dates(column: Column, array: pa.Array) -> pa.Array:
    return column.spelling.read(array) if column.spelling is not None else array


def _binary(categories: Categories) -> bool:
    return categories.size == 2 and not categories.missing


def _useful_parts(array: pa.Array, name: str) -> list[str]:
    if pa.types.is_time(array.type):
        return list(_PARTS_OF_TIME)
    useful = []
    for part in columns.PARTS:
        values = columns.parts(array, [part], name)[0]
        present = values[~np.isnan(values)]
        if len(present) and present.min() != present.max():
            useful.append(part)
    return useful or ["days"]


def _edges(values: Numbers) -> list[float]:
    present = values[~np.isnan(values)]
    if not len(present):
        return []
    return [float(edge) for edge in np.unique(np.quantile(present, np.linspace(0.1, 0.9, 9)))]
