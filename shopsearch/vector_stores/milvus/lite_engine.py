"""All that shopsearch uses of Milvus Lite's private API, and a collection that searches with numpy.

For each search, Milvus Lite 3.2 loops over every row in Python, copies and normalizes all vectors, and reads the
vector of each hit. With 10,000 vectors of 768 numbers that takes 40 ms of processor time, and a filter on an array
600 ms. Here replaced and deleted rows are found by intersecting sets of keys, distances are one matrix product, and
only the fields asked for are read. BM25 counts words over the whole collection: Milvus Lite counts them per segment,
so that a rare word in a small new segment ranks below common ones. What this module does not handle goes to Milvus
Lite's own code.

Importing it needs milvus-lite and pymilvus.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from milvus_lite import db
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.adapter.grpc.translators import records
from milvus_lite.engine import collection as stock
from milvus_lite.schema.types import DataType
from milvus_lite.search.filter import ast, evaluate_mask
from milvus_lite.storage.memtable import MemTable
from milvus_lite.storage.segment import _extract_vector_array
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc, schema_pb2

from shopsearch.exceptions import VectorStoreError

_KNOWN_VERSION = "3.2."
_EXACT = ("FLAT", "BRUTE_FORCE")
_ORDINARY = {
    "group_by_field": None,
    "group_size": 1,
    "strict_group_size": False,
    "radius": None,
    "range_filter": None,
    "offset": 0,
    "ranker": None,
    "timezone": None,
}
"""The arguments of a search that only asks for the nearest."""
_TERM = np.dtype([("id", "<u4"), ("times", "<f4")])
"""How a row's words are stored: the word's id, and how often it occurs."""


def open_database(data_dir: str) -> Any:
    """The database in this directory, with collections of the class below.

    Raises VectorStoreError if another server uses the directory, or if the installed Milvus Lite is not the version
    that this module was written for.
    """
    if not version("milvus-lite").startswith(_KNOWN_VERSION):
        raise VectorStoreError(
            f"shopsearch needs Milvus Lite {_KNOWN_VERSION}x, and {version('milvus-lite')} is installed: "
            f'run pip install "milvus-lite=={_KNOWN_VERSION}*".'
        )
    db.Collection = Collection
    MemTable._build_data_table = _build_data_table
    records._build_field_data = _build_field_data
    try:
        return db.MilvusLite(data_dir)
    except db.DataDirLockedError as error:
        raise VectorStoreError(
            f"Another Milvus Lite server uses {data_dir}: stop that one, or give this one its own directory."
        ) from error


def servicer_of(database: Any) -> Any:
    """The gRPC servicer that answers Milvus clients from this database."""
    return MilvusServicer(database)


def add_to_server(servicer: Any, server: Any) -> None:
    """Register the servicer with the gRPC server."""
    milvus_pb2_grpc.add_MilvusServiceServicer_to_server(servicer, server)


def flush(servicer: Any, database: str, collection: str) -> None:
    """Move recent writes from memory into a segment."""
    servicer.Flush(milvus_pb2.FlushRequest(db_name=database, collection_names=[collection]), None)


class Source:
    """The rows of one segment, or those that are still in memory."""

    def __init__(self, table: Any, seqs: Any, rows: Mapping[str, int], segment: Any = None) -> None:
        self.table, self.seqs, self.rows, self.segment = table, seqs, rows, segment
        self.keys = list(rows)
        self._vectors: dict[str, tuple[Any, Any]] = {}
        self._words: dict[str, Words] = {}

    def distances(self, name: str, unit: Any, passing: Any) -> Any:
        """1 - cosine with the unit vector, by row; infinite for a row that does not pass."""
        if name not in self._vectors:
            vectors, _ = (
                self.segment.vector_data(name)
                if self.segment
                else _extract_vector_array(self.table.column(name))
            )
            lengths = np.linalg.norm(vectors, axis=1)
            self._vectors[name] = vectors, 1 / np.where(lengths == 0, 1, lengths)
        vectors, scales = self._vectors[name]
        found = np.full(len(passing), np.inf, np.float32)
        rows = np.flatnonzero(passing)
        # Copying a third of the rows costs as much as multiplying all of them.
        if 3 * len(rows) < len(passing):
            found[rows] = 1 - (vectors[rows] @ unit) * scales[rows]
        else:
            found[rows] = (1 - (vectors @ unit) * scales)[rows]
        return np.maximum(found, 0)

    def words(self, name: str) -> Words:
        if name not in self._words:
            self._words[name] = Words(self.table.column(name))
        return self._words[name]


class Words:
    """An inverted index of a column: which rows have a word, and how often."""

    def __init__(self, column: Any) -> None:
        packed = [each or b"" for each in column.to_pylist()]
        terms = np.frombuffer(b"".join(packed), _TERM)
        counts = np.fromiter(map(len, packed), np.int64, len(packed)) // _TERM.itemsize
        rows = np.repeat(np.arange(len(packed)), counts)
        self.lengths = np.bincount(rows, weights=terms["times"], minlength=len(packed))
        order = np.argsort(terms["id"], kind="stable")
        self._ids, self._rows, self._times = terms["id"][order], rows[order], terms["times"][order]

    def having(self, word: int) -> tuple[Any, Any]:
        """The rows that have the word, and how often each has it."""
        begin = np.searchsorted(self._ids, word, "left")
        end = np.searchsorted(self._ids, word, "right")
        return self._rows[begin:end], self._times[begin:end]


View = list[tuple[Source, Any]]
"""Rows by their source, each source with a mask of those that count."""


class Collection(stock.Collection):  # type: ignore[misc]  # milvus-lite has no types
    """Milvus Lite's collection, with our own code for ordinary searches and reads, and for upserts of whole rows.

    Reads may run side by side; LiteServer runs no write beside them.
    """

    _flushed: tuple[View, Any] = ([], None)
    """The segments with the rows that no other segment replaces; and the deletions."""
    _seen: tuple[Any, int, View] | None = None
    """The last view, with the state that it was made from."""

    # Which rows there are

    def _refresh_segment_cache(self) -> None:
        super()._refresh_segment_cache()
        known = {source.segment: source for source, _ in self._flushed[0]}
        view = []
        for segment in self._segment_cache.values():
            source = known.get(segment) or Source(segment.table, segment.seqs, segment.pk_to_row, segment)
            view.append((source, np.ones(len(source.keys), bool)))
        for one, other in combinations(view, 2):
            _mask_older(one, other)
        # Assigned in one step, because readers do not wait for a merge of segments. The deletions belong to it: the
        # merge drops them, and with the segments from before it, deleted rows would show up again.
        self._flushed = view, self._delta_index.frozen_copy()

    def _read_snapshot(self) -> tuple[tuple[Any, ...], Any]:
        view, deleted = self._flushed
        return tuple(source.segment for source, _ in view), deleted

    def drop_partition(self, partition_name: str) -> None:
        super().drop_partition(partition_name)
        self._refresh_segment_cache()

    def _live(self) -> View:
        """The rows that are neither replaced nor deleted; the same object until something is written."""
        self._require_loaded()
        flushed, written = self._flushed, self._next_seq
        if self._seen and self._seen[0] is flushed and self._seen[1] == written:
            return self._seen[2]
        view = [(source, mask.copy()) for source, mask in flushed[0]]
        keys, seqs, _, _, table = self._memtable.to_search_snapshot(None, include_table=True)
        if keys:
            memory = (
                Source(table, seqs, {key: row for row, key in enumerate(keys)}),
                np.ones(len(keys), bool),
            )
            for each in view:
                _mask_older(each, memory)
            view.append(memory)
        pending = {key: seq for key, (seq, _) in self._memtable.delete_index_snapshot().items()}
        for deleted in (flushed[1].snapshot, pending):
            for source, mask in view:
                for key in deleted.keys() & source.rows.keys():
                    mask[source.rows[key]] &= deleted[key] <= source.seqs[source.rows[key]]
        self._seen = flushed, written, view
        return view

    def _passing(self, expr: str | None) -> View:
        """The live rows that pass the filter."""
        if not expr:
            return self._live()
        compiled = self._compile_filter(expr)
        return [
            (source, mask & _passes(compiled, compiled.ast, source.table)) for source, mask in self._live()
        ]

    def _fields(self, output_fields: list[str] | None) -> list[str] | None:
        """The fields to read; None if one of them is not a plain column."""
        names = [each.name for each in self._schema.fields]
        if output_fields is None or self._schema.enable_dynamic_field or not set(output_fields) <= set(names):
            return None
        return [name for name in names if name in output_fields and name != self._pk_name]

    # Search

    def search(
        self,
        query_vectors: list[Any],
        top_k: int = 10,
        metric_type: str | None = None,
        partition_names: list[str] | None = None,
        expr: str | None = None,
        output_fields: list[str] | None = None,
        anns_field: str | None = None,
        **others: Any,
    ) -> list[list[dict[str, Any]]]:
        fields = self._fields(output_fields)
        name = self._resolve_anns_field(anns_field)
        metric = self.resolve_search_metric(name, metric_type)
        special = {key: value for key, value in others.items() if key != "search_params"}
        is_exact = name not in self._index_specs or self._index_specs[name].index_type in _EXACT
        if (
            fields is None
            or partition_names
            or special.items() - _ORDINARY.items()
            or not (metric == "BM25" or (metric == "COSINE" and is_exact))
        ):
            found: list[list[dict[str, Any]]] = super().search(
                query_vectors, top_k, metric_type, partition_names, expr, output_fields, anns_field, **others
            )
            return found
        passing = self._passing(expr)
        if metric == "BM25":
            queries = self._prepare_sparse_queries(query_vectors, name)
            return [_best(passing, self._unlike(query, name, passing), top_k, fields) for query in queries]
        answers = []
        for query in np.asarray(query_vectors, np.float32):
            unit = query / (np.linalg.norm(query) or 1)
            distances = [source.distances(name, unit, mask) for source, mask in passing]
            hits = _best(passing, distances, top_k, fields)
            answers.append([hit | {"distance": 1 - hit["distance"]} for hit in hits])
        return answers

    def _unlike(self, query: Mapping[int, float], name: str, passing: View) -> list[Any]:
        """The negative BM25 score, as in Milvus Lite, by row; infinite for a row without any of the words."""
        params = self._index_specs[name].build_params if name in self._index_specs else {}
        k1, b = float(params.get("bm25_k1", 1.5)), float(params.get("bm25_b", 0.75))
        live = [(source.words(name), mask) for source, mask in self._live()]
        count = sum(int(mask.sum()) for _, mask in live)
        usual = sum(float(words.lengths[mask].sum()) for words, mask in live) / (count or 1) or 1
        scores = [np.zeros(len(mask)) for _, mask in live]
        for word, weight in query.items():
            having = [words.having(word) for words, _ in live]
            known = sum(int(mask[rows].sum()) for (rows, _), (_, mask) in zip(having, live, strict=True))
            rarity = math.log(1 + (count - known + 0.5) / (known + 0.5))
            for score, (rows, times), (words, _) in zip(scores, having, live, strict=True):
                long = 1 - b + b * words.lengths[rows] / usual
                score[rows] += weight * rarity * times * (k1 + 1) / (times + k1 * long)
        return [
            np.where(mask & (score > 0), -score, np.inf)
            for score, (_, mask) in zip(scores, passing, strict=True)
        ]

    def _build_or_load_segment_index(self, seg: Any, spec: Any) -> None:
        # An exact index would be a second copy of the vectors, in memory and on disk.
        if spec.index_type not in _EXACT:
            super()._build_or_load_segment_index(seg, spec)

    # Reading

    def get(
        self,
        pks: list[Any],
        partition_names: list[str] | None = None,
        expr: str | None = None,
        output_fields: list[str] | None = None,
        timezone: str | None = None,
    ) -> list[dict[str, Any]]:
        fields = self._fields(output_fields)
        if fields is None or partition_names or expr:
            found: list[dict[str, Any]] = super().get(pks, partition_names, expr, output_fields, timezone)
            return found
        view = self._live()
        places = [
            (source, source.rows[key])
            for key in pks
            for source, mask in view
            if key in source.rows and mask[source.rows[key]]
        ]
        return self._rows(places, fields)

    def query(
        self,
        expr: str | None = None,
        output_fields: list[str] | None = None,
        partition_names: list[str] | None = None,
        limit: int | None = None,
        offset: int = 0,
        timezone: str | None = None,
        order_by_pk: bool = False,
    ) -> list[dict[str, Any]]:
        fields = self._fields(output_fields)
        if fields is None or partition_names or timezone:
            found: list[dict[str, Any]] = super().query(
                expr, output_fields, partition_names, limit, offset, timezone, order_by_pk
            )
            return found
        places = [(source, int(row)) for source, mask in self._passing(expr) for row in np.flatnonzero(mask)]
        if order_by_pk:
            places.sort(key=lambda place: place[0].keys[place[1]])
        return self._rows(places[offset : None if limit is None else offset + limit], fields)

    def _rows(self, places: list[tuple[Source, int]], fields: list[str]) -> list[dict[str, Any]]:
        return [
            {self._pk_name: source.keys[row], **read}
            for (source, row), read in zip(places, _read(places, fields), strict=True)
        ]

    def _num_entities(self, partition_names: list[str] | None) -> int:
        if partition_names is not None:
            return int(super()._num_entities(partition_names))
        return sum(int(mask.sum()) for _, mask in self._live())

    # Writing

    def upsert(
        self, records: list[dict[str, Any]], partition_name: str = stock.DEFAULT_PARTITION
    ) -> list[Any]:
        whole = {each.name for each in self._schema.fields} - self._bm25_analyzers.keys()
        # Milvus Lite reads each row that it replaces, to keep the fields that the new one lacks. These lack none.
        is_whole = all(whole <= record.keys() for record in records)
        write = super().insert if is_whole else super().upsert
        written: list[Any] = write(records, partition_name)
        return written


def _mask_older(one: tuple[Source, Any], other: tuple[Source, Any]) -> None:
    """Of two rows with one key, mask the older; of two equally old ones, the first."""
    for key in one[0].rows.keys() & other[0].rows.keys():
        row, other_row = one[0].rows[key], other[0].rows[key]
        if one[0].seqs[row] <= other[0].seqs[other_row]:
            one[1][row] = False
        else:
            other[1][other_row] = False


def _passes(compiled: Any, node: Any, table: Any) -> Any:
    """The mask of the rows that pass this part of a filter."""
    if isinstance(node, ast.And):
        return np.logical_and.reduce([_passes(compiled, each, table) for each in node.operands])
    if _is_any_of_strings(node, table):
        lists = table.column(node.value.name).combine_chunks()
        found = pc.is_in(pc.list_flatten(lists), _strings(node.values))
        mask = np.zeros(len(lists), bool)
        mask[pc.list_parent_indices(lists).filter(found)] = True
        return mask
    # A list of ids is long, and Milvus Lite goes through it for each segment.
    if (
        isinstance(node, ast.InOp)
        and not node.negate
        and table.schema.field(node.field.name).type == pa.string()
        and _are_strings(node.values)
    ):
        return pc.is_in(table.column(node.field.name), _strings(node.values)).to_numpy()
    # "hybrid" uses Arrow where it can. The other columns are left out, so that Python does not read the vectors.
    part = replace(compiled, ast=node, backend="hybrid")
    return evaluate_mask(part, table.select(list(compiled.fields)))


def _is_any_of_strings(node: Any, table: Any) -> bool:
    return (
        isinstance(node, ast.ArrayContainsOp)
        and node.mode == "any"
        and isinstance(node.value, ast.FieldRef)
        and table.schema.field(node.value.name).type == pa.list_(pa.string())
        and _are_strings(node.values)
    )


def _are_strings(node: Any) -> bool:
    return isinstance(node, ast.ListLit) and all(isinstance(each, ast.StringLit) for each in node.elements)


def _strings(literals: Any) -> Any:
    return pa.array([each.value for each in literals.elements], pa.string())


def _best(view: View, distances: list[Any], limit: int, fields: list[str]) -> list[dict[str, Any]]:
    """The hits with the smallest distance; ties go by key, so that it does not matter which segment has a row."""
    joined = np.concatenate([np.empty(0), *distances])
    rows = np.flatnonzero(joined < np.inf)
    if len(rows) > limit:
        rows = rows[joined[rows] <= np.partition(joined[rows], limit - 1)[limit - 1]]
    starts = np.cumsum([0, *map(len, distances)])[:-1]
    hits = []
    for distance, row, at in zip(
        joined[rows].tolist(), rows.tolist(), np.searchsorted(starts, rows, "right") - 1, strict=True
    ):
        source, place = view[at][0], row - int(starts[at])
        hits.append((distance, source.keys[place], (source, place)))
    hits = sorted(hits, key=lambda hit: hit[:2])[:limit]
    read = _read([place for _, _, place in hits], fields)
    return [
        {"id": key, "distance": distance, "entity": entity}
        for (distance, key, _), entity in zip(hits, read, strict=True)
    ]


def _read(places: list[tuple[Source, int]], fields: list[str]) -> list[dict[str, Any]]:
    """These fields of these rows."""
    read: list[dict[str, Any]] = [{} for _ in places]
    for source in dict.fromkeys(source for source, _ in places) if fields else ():
        at = [number for number, place in enumerate(places) if place[0] is source]
        table = source.table.select(fields).take([places[number][1] for number in at])
        for number, fields_of_row in zip(at, table.to_pylist(), strict=True):
            read[number] = fields_of_row
    return read


_build_any_field_data = records._build_field_data


def _build_field_data(name: str, field: Any, column: list[Any]) -> Any:
    """A field of rows that were found, to be sent. Milvus Lite asks for the type of each text anew: for a thousand rows
    that is half of a search.
    """
    if field.dtype != DataType.VARCHAR or None in column:
        return _build_any_field_data(name, field, column)
    sent = schema_pb2.FieldData(field_name=name, type=schema_pb2.VarChar)
    sent.scalars.string_data.data.extend(column)
    return sent


def _build_data_table(memtable: Any, rows: list[tuple[int, int]]) -> Any:
    """These rows of the batches in memory as an Arrow table. Milvus Lite would convert them to Python cell by cell."""
    starts = np.cumsum([0, *(batch.num_rows for batch in memtable._insert_batches)])
    names = memtable._data_schema.names
    table = pa.Table.from_batches(memtable._insert_batches).select(names)
    return table.take([int(starts[batch]) + row for batch, row in rows]).cast(memtable._data_schema)
