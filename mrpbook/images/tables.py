"""Parquet and Arrow files in Hugging Face's image layout."""
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import numpy as np

from .folders import Rows, split_of

MOST_CLASSES = 100_000  # without class names a label above this is taken for something else


def files(folder: Path) -> list[Path]:
    """The Parquet files below a folder, or, if there are none, the Arrow files of a data set saved to disk."""
    for pattern in ("*.parquet", "data-*.arrow"):
        found = sorted(path for path in folder.rglob(pattern)
                       if not any(part.startswith(".") for part in path.relative_to(folder).parts))
        if found:
            return found
    return []


def of_split(paths: Iterable[PurePath], split: str | None, where: str) -> list:
    """Those of the paths (relative ones) that belong to a split. Raises ValueError if that is not one clear and whole set."""
    by_split = {}
    for path in paths:
        by_split.setdefault(split_of(path), []).append(path)
    present = ", ".join(sorted(name or "(none named)" for name in by_split))
    if split is None and len(by_split) > 1:
        raise ValueError(f"{where} has the splits {present}: choose one with split=")
    if split is not None and split not in by_split:
        raise ValueError(f"split = {split!r}: {where} has only {present}")
    chosen = by_split[split] if split is not None else next(iter(by_split.values()))
    shards = {}
    for path in chosen:
        if shard := re.match(r"(.*-)(\d{5})-of-(\d{5})", path.name):
            shards.setdefault((path.parent / shard[1], int(shard[3])), set()).add(int(shard[2]))
    for (start, count), there in shards.items():
        if missing := sorted(set(range(count)) - there):
            raise ValueError(f"{where}: {start}{missing[0]:05d}-of-{count:05d} is missing: fetch it again")
    return chosen


def rows(paths: list[Path], image: str | None, label: str | None, beside: list[Path]) -> Rows:
    """The pictures and labels of files with equal columns, row by row.

    image, label: column names; by default the one column of encoded pictures (a struct with bytes, or binary) and the one
    column that the schema's metadata call a ClassLabel, or that is called label. Class names come from those metadata; text
    labels are their own names, numbered in alphabetic order, and bare numbers are named by themselves; both are counted over
    `beside`, the files of all splits, too, so that labels agree between splits.
    Raises ValueError for other columns, for labels out of range or missing, for damaged files; ImportError without pyarrow.
    """
    first = _columns(paths[0], image, label)
    for path in paths[1:]:
        if _columns(path, image, label) != first:
            raise ValueError(f"{path}: other columns or class names than {paths[0]}: load them one at a time")
    column, label, names, kind = first
    labels = np.concatenate([_labels(path, label, names) for path in paths])
    if names is None:
        others = [path for path in beside if path not in paths and _kind(_schema(path), label) == kind]
        known = np.concatenate([labels, *(_labels(path, label, None) for path in others)])
        if labels.dtype == np.int64:
            names = tuple(str(n) for n in range(known.max(initial=-1) + 1))
        else:
            known = np.unique(known)
            names, labels = tuple(map(str, known)), np.searchsorted(known, labels)
    return Rows(names, labels.astype(np.int64), _contents(paths, column))


def _arrow():
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise ImportError("Parquet and Arrow files need pyarrow: pip install 'mrpbook[images]'") from error
    return pyarrow


def _batches(path: Path, columns: list[str] | None) -> Iterator:
    """The schema, then record batches of these columns (none at all without columns)."""
    arrow = _arrow()
    try:
        if path.suffix == ".arrow":
            reader = arrow.ipc.open_stream(arrow.memory_map(str(path)))
            yield reader.schema
            yield from (batch.select(columns) for batch in (reader if columns else ()))
        else:
            with arrow.parquet.ParquetFile(path) as file:
                yield file.schema_arrow
                if columns:
                    yield from file.iter_batches(64, columns=columns, use_threads=False)
    except (arrow.ArrowException, OSError) as error:
        kind = "an Arrow stream" if path.suffix == ".arrow" else "Parquet"
        raise ValueError(f"{path}: can't be read as {kind}, cut short or corrupt ({error}): fetch or write it again") from error


def _schema(path):
    return next(_batches(path, None))


def _features(path, schema):
    """Class names by column, as the metadata of Hugging Face's data sets state them."""
    try:
        stated = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = stated.get("info", {}).get("features", {})
        return {column: tuple(map(str, feature["names"])) for column, feature in features.items()
                if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: its 'huggingface' metadata are damaged ({error}): write the file again") from error


def _is_picture(kind):
    types = _arrow().types
    if types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_picture(kind.field(at).type)
    return types.is_binary(kind) or types.is_large_binary(kind)


def _is_label(kind):
    types = _arrow().types
    return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)


def _columns(path, image, label):
    """The picture column, the label column, the class names that the metadata give it (or None) and its type."""
    schema = _schema(path)
    features = _features(path, schema)
    pictures = [field.name for field in schema if _is_picture(field.type)]
    labels = [field.name for field in schema if _is_label(field.type)]
    plain = [name for name in labels if name in features] or [name for name in labels if name == "label"]
    image = _one(path, schema, "image", "encoded pictures (binary, or a struct with bytes)", pictures, image)
    label = _one(path, schema, "label", "labels (integers or text)", labels if label else plain, label)
    return image, label, features.get(label), _kind(schema, label)


def _kind(schema, name):
    return str(schema.field(name).type) if name in schema.names else None


def _one(path, schema, role, what, fitting, asked):
    """The name of the column that plays a role: the one asked for, or the only fitting one, or the one called like the role."""
    for found in ([asked],) if asked else (fitting, [role]):
        if len(found) == 1 and fitting.count(found[0]) == 1:
            return found[0]
    trouble = f"column {asked!r} doesn't hold" if asked else f"{len(fitting) or 'no'} columns hold"
    columns = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise ValueError(f"{path}: {trouble} {what}: name the right one with {role}=. Its columns: {columns}")


def _labels(path, column, names):
    """A file's labels: int64, or text if they are text."""
    parts = [batch.column(0) for batch in _batches_of(path, column)]
    nulls = np.concatenate([part.is_null().to_numpy(zero_copy_only=False) for part in parts] or [np.empty(0, bool)])
    if nulls.any():
        raise ValueError(f"{path}, row {nulls.argmax()}: no label in column {column!r}: drop the row")
    values = np.concatenate([part.to_numpy(zero_copy_only=False) for part in parts] or [np.empty(0, np.int64)])
    if values.dtype == object:
        return values.astype(str)
    most = len(names) if names else MOST_CLASSES
    out = (values < 0) | (values >= most)
    if out.any():
        row = out.argmax()
        raise ValueError(f"{path}, row {row}: label {values[row]} in column {column!r}: expected 0 to {most - 1}"
                         f"{f', for {most} class names' if names else ''} (-1 marks rows without a label: drop them)")
    return values.astype(np.int64)


def _batches_of(path, column):
    batches = _batches(path, [column])
    next(batches)
    return batches


def _contents(paths, column):
    """(name in errors, encoded picture), one by one."""
    for path in paths:
        row = 0
        for batch in _batches_of(path, column):
            stored, origins = batch.column(0), [None] * len(batch)
            if _arrow().types.is_struct(stored.type):
                fields = dict(zip((field.name for field in stored.type), stored.flatten(), strict=True))
                stored, origins = fields["bytes"], fields["path"].to_pylist() if "path" in fields else origins
            for content, origin in zip(stored.to_pylist(), origins, strict=True):
                where = f"{path}, row {row}" + (f" ({origin})" if origin else "")
                if content is None:
                    cure = ", only a path: write the table with its pictures inside" if origin else ": drop the row"
                    raise ValueError(f"{where}: no bytes in column {column!r}{cure}")
                yield where, content
                row += 1
