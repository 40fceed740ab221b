"""Pictures in tables, on this machine or the hub: what arrives, and what is said of what can't."""
import numpy as np
import pytest
from image_files import RED, classes, put, stored, table

from mrpbook.images import sources


def test_a_table_gives_its_pictures_labels_and_class_names(tmp_path):
    path = table(tmp_path / "x.parquet", [(stored(RED), 1), (stored(RED // 2), 0)], image="img")
    images = sources.load(path)
    assert images.names == ("cat", "dog") and images.labels.tolist() == [1, 0]
    assert np.array_equal(images.pictures, np.stack([RED, RED // 2]))
    assert images.source == "x.parquet, stored as PNG" and images.licence.startswith("unknown")


def test_a_folder_of_tables_gives_the_split_its_file_names_say(tmp_path):
    table(tmp_path / "data" / "train-00000-of-00002.parquet", [(stored(), 0)])
    table(tmp_path / "data" / "train-00001-of-00002.parquet", [(stored(), 1)])
    table(tmp_path / "data" / "test-00000-of-00001.parquet", [(stored(), 1), (stored(), 0), (stored(), 0)])
    put(tmp_path / "README.md", b"---\nlicense: cc-by-4.0\n---\n")
    assert sources.load(tmp_path, "train").labels.tolist() == [0, 1]
    test = sources.load(tmp_path, "test")
    assert len(test) == 3 and test.licence == "as README.md states: cc-by-4.0" and "test part" in test.source
    with pytest.raises(ValueError, match="has the splits test, train: choose one with split="):
        sources.load(tmp_path)
    with pytest.raises(ValueError, match="split = 'validation': .* has only test, train"):
        sources.load(tmp_path, "val")
    with pytest.raises(ValueError, match="split = 'test': .*train-00000-of-00002.parquet is one file"):
        sources.load(tmp_path / "data" / "train-00000-of-00002.parquet", "test")
    (tmp_path / "data" / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(ValueError, match="data/train-00000-of-00002 is missing: fetch it again"):
        sources.load(tmp_path, "train")


def test_a_saved_data_set_of_arrow_files_is_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    read = pq.read_table(table(tmp_path / "x.parquet", [(stored(RED), 1), (stored(RED // 2), 0)]))
    for split in ("train", "test"):
        (tmp_path / "saved" / split).mkdir(parents=True)
        with pa.ipc.new_stream(tmp_path / "saved" / split / "data-00000-of-00001.arrow", read.schema) as stream:
            stream.write_table(read)
    images = sources.load(tmp_path / "saved", "test")
    assert images.labels.tolist() == [1, 0] and np.array_equal(images.pictures[0], RED)
    whole = (tmp_path / "saved" / "test" / "data-00000-of-00001.arrow").read_bytes()
    put(tmp_path / "saved" / "test" / "data-00000-of-00001.arrow", whole[:len(whole) // 2])
    with pytest.raises(ValueError, match="can't be read as an Arrow stream, cut short or corrupt"):
        sources.load(tmp_path / "saved", "test")


def test_a_corrupt_picture_in_a_table_is_named_by_file_row_and_origin(tmp_path):
    rows = [(stored(), n % 2) for n in range(70)] + [({"bytes": stored()[:50], "path": "cat/1.png"}, 1)]
    with pytest.raises(ValueError, match=r"x\.parquet, row 70 \(cat/1\.png\): corrupt"):
        sources.load(table(tmp_path / "x.parquet", rows))


def test_missing_pictures_and_labels_are_named_by_row(tmp_path):
    for row, message in [((None, 1), "row 1: no bytes in column 'image': drop the row"),
                         (({"bytes": None, "path": "/etc/x.png"}, 1), r"row 1 \(/etc/x.png\): no bytes .* only a path"),
                         ((stored(), None), "row 1: no label in column 'label': drop the row")]:
        with pytest.raises(ValueError, match=message):
            sources.load(table(tmp_path / "x.parquet", [(stored(), 0), row, (stored(), 1)]))


def test_a_label_out_of_range_is_named_by_row(tmp_path):
    for label in (2, -1):
        with pytest.raises(ValueError, match=f"row 1: label {label} in column 'label': expected 0 to 1, for 2 class names"):
            sources.load(table(tmp_path / "x.parquet", [(stored(), 0), (stored(), label), (stored(), 1)]))
    with pytest.raises(ValueError, match="row 0: label 10000000000 in column 'label'"):
        sources.load(table(tmp_path / "x.parquet", [(stored(), 10**10), (stored(), 0)], names=()))


def test_wrong_columns_are_listed_and_a_choice_is_asked_for(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [stored(), stored()], "fine": [0, 1], "coarse": [1, 0]}), path)
    with pytest.raises(ValueError, match=r"x\.parquet: no columns hold labels .* label=\..* a \(binary\), fine \(int64\)"):
        sources.load(path)
    assert sources.load(path, label="coarse").labels.tolist() == [1, 0]
    with pytest.raises(ValueError, match="column 'a' doesn't hold labels"):
        sources.load(path, label="a")
    with pytest.raises(ValueError, match="column 'z' doesn't hold encoded pictures"):
        sources.load(path, image="z", label="fine")
    pq.write_table(pa.table({"left": [stored()] * 2, "right": [stored()] * 2, "label": [0, 1]}), path)
    with pytest.raises(ValueError, match="2 columns hold encoded pictures .* image="):
        sources.load(path)
    pq.write_table(pa.table({"image": [[1, 2], [3]], "label": [0, 1]}), path)
    with pytest.raises(ValueError, match=r"no columns hold encoded pictures.*image \(list"):
        sources.load(path)


def test_labels_without_class_names_are_numbered_alike_in_every_split(tmp_path):
    pa = pytest.importorskip("pyarrow")
    for kind, (a, b, c) in [(pa.string(), ("ant", "bee", "cat")), (pa.int8(), (0, 1, 2))]:
        table(tmp_path / "train.parquet", [(stored(), a), (stored(), b), (stored(), c)], names=(), kind=kind)
        for few, labels in [((a, b), [0, 1]), ((c, b), [2, 1])]:
            table(tmp_path / "test.parquet", [(stored(), name) for name in few], names=(), kind=kind)
            test = sources.load(tmp_path, "test")
            assert test.names == (str(a), str(b), str(c)) and test.labels.tolist() == labels


def test_tables_with_other_class_names_are_not_mixed(tmp_path):
    table(tmp_path / "a.parquet", [(stored(), 0), (stored(), 1)])
    table(tmp_path / "b.parquet", [(stored(), 0), (stored(), 1)], names=("dog", "cat"))
    with pytest.raises(ValueError, match=r"b\.parquet: other columns or class names than .*a\.parquet"):
        sources.load(tmp_path)


def test_one_class_and_no_rows_are_refused_in_tables_too(tmp_path):
    with pytest.raises(ValueError, match="only the class 'dog'"):
        sources.load(table(tmp_path / "x.parquet", [(stored(), 1), (stored(), 1)]))
    with pytest.raises(ValueError, match="no pictures: expected pictures of at least two classes"):
        sources.load(table(tmp_path / "x.parquet", []))


def test_a_cut_table_is_refused_wherever_it_is_cut(tmp_path):
    whole = table(tmp_path / "x.parquet", [(stored(RED + n), n % 2) for n in range(9)]).read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        with pytest.raises(ValueError, match=r"x\.parquet: can't be read as Parquet, cut short or corrupt"):
            sources.load(put(tmp_path / "x.parquet", whole[:length]))
    with pytest.raises(ValueError, match="can't be read as Parquet"):
        sources.load(put(tmp_path / "y.zip", b"PK\3\4"))


def test_damaged_metadata_are_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    for text in ("{", '{"info": 3}', '{"info": {"features": {"label": {"_type": "ClassLabel", "names": 5}}}}'):
        pq.write_table(pa.table({"image": [stored()] * 2, "label": [0, 1]}).replace_schema_metadata({"huggingface": text}),
                       tmp_path / "x.parquet")
        with pytest.raises(ValueError, match="'huggingface' metadata are damaged"):
            sources.load(tmp_path / "x.parquet")


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = table(tmp_path / "x.parquet", [(stored(), 0), (stored(), 1)])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"need pyarrow: pip install 'mrpbook\[images\]'"):
        sources.load(path)


def test_a_split_without_labels_does_not_stand_in_the_way_of_one_with_labels(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq
    table(tmp_path / "train-00000-of-00002-1a2b.parquet", [(stored(), 0)], names=())
    table(tmp_path / "train-00001-of-00002-3c4d.parquet", [(stored(), 1)], names=())
    pq.write_table(pa.table({"image": [stored()]}), tmp_path / "test.parquet")
    assert sources.load(tmp_path, "train").labels.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"test\.parquet: no columns hold labels"):
        sources.load(tmp_path, "test")


def test_ten_class_names_alone_do_not_make_a_table_cifar_10(tmp_path):
    images = sources.load(table(tmp_path / "x.parquet", [(stored(), n) for n in range(10)], names=sources.CIFAR10))
    assert "CIFAR" not in images.source and images.licence.startswith("unknown")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """huggingface_hub's cache with a data set of one split in it, and no network."""
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants
    root = tmp_path / "datasets--owner--name"
    table(root / "snapshots" / ("0123456789" * 4) / "data" / "train-00000-of-00001.parquet", [(stored(), 0), (stored(), 1)])
    put(root / "refs" / "main", b"0123456789" * 4)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return root


def test_a_cached_data_set_needs_no_network_and_says_its_commit(cache):
    images = sources.load("hub:owner/name", "train")
    assert len(images) == 2 and "owner/name on the Hugging Face Hub, commit 012345678901" in images.source


def test_what_is_neither_cached_nor_reachable_is_named(cache):
    for name, split in [("owner/name", "test"), ("owner/other", None), ("owner/name@v2", "train")]:
        with pytest.raises(ConnectionError, match=f"hub:{name} could not be fetched .*check the name and the network"):
            sources.load(f"hub:{name}", split)
    with pytest.raises(ValueError, match="a/b/c"):
        sources.load("hub:a/b/c")


def test_only_the_parquet_files_of_one_split_are_fetched(cache, monkeypatch):
    import huggingface_hub as hub
    asked = []

    def snapshot(repository, *, local_files_only=False, allow_patterns, repo_type, revision):
        if local_files_only:
            raise FileNotFoundError
        asked.append((repository, repo_type, revision, allow_patterns))
        return str(cache / "snapshots" / ("0123456789" * 4))

    listed = ["README.md", "run.py", "x.pkl", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"]
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    monkeypatch.setattr(hub.HfApi, "list_repo_files", lambda self, name, *, repo_type, revision: listed)
    assert len(sources.load("hub:owner/name@v2", "train")) == 2
    assert asked == [("owner/name", "dataset", "v2", ["data/train-00000-of-00001.parquet", "README.md"])]
    with pytest.raises(ValueError, match="hub:owner/name has the splits test, train: choose one"):
        sources.load("hub:owner/name")
    del listed[3:]
    with pytest.raises(ValueError, match="no Parquet files: .*'hub:owner/name@refs/convert/parquet'"):
        sources.load("hub:owner/name", "train")
    assert len(asked) == 1


def test_without_huggingface_hub_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"hub:owner/name needs huggingface_hub: pip install 'mrpbook\[images\]'"):
        sources.load("hub:owner/name")


def test_no_other_source_asks_the_network(monkeypatch, tmp_path):
    monkeypatch.setattr("mrpbook.images.hub.fetched", lambda *_: pytest.fail("asked the hub"))
    sources.load()
    sources.load(classes(tmp_path, "cat", "dog"))
    with pytest.raises(FileNotFoundError):
        sources.load("owner/name")
