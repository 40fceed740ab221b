"""Pictures, class folders and tables for the tests of mrpbook.images."""
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

RED = np.full((4, 4, 3), (200, 10, 30), np.uint8)
GREY = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16


def stored(pixels=RED, kind="PNG", **options):
    """An encoded picture."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stored() if content is None else content)
    return path


def classes(root, *names, each=2):
    for name in names:
        for n in range(each):
            put(root / name / f"{n}.png", stored(np.full((4, 4, 3), 10 * n, np.uint8)))
    return root


def table(path, rows, names=("cat", "dog"), image="image", label="label", kind=None):
    """A Parquet file in Hugging Face's image layout; rows: (bytes or {bytes, path}, label)."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    pictures = [row[0] if isinstance(row[0], dict | None) else {"bytes": row[0], "path": None} for row in rows]
    features = {image: {"_type": "Image"}} | ({label: {"_type": "ClassLabel", "names": list(names)}} if names else {})
    schema = pa.schema([(image, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), (label, kind or pa.int64())],
                       {"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table([pictures, [row[1] for row in rows]], schema=schema), path)
    return path


def bomb(width, height):
    """A small PNG whose header claims many pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
