"""Data sets from the Hugging Face Hub, when asked for by name."""
from pathlib import Path, PurePosixPath

from . import tables
from .folders import SPLIT_WORDS


def fetched(name: str, split: str | None) -> Path:
    """The local folder of a data set's Parquet files of one split: the cached one, or, if there is none, fetched now.

    name: owner/name or owner/name@revision. What huggingface_hub's cache holds is taken without asking the network, so a
    data set stays the one it was; only Parquet files and README.md are fetched, nothing that runs. Raises ImportError
    without huggingface_hub, ConnectionError if nothing can be fetched, ValueError for a bad name or split.
    """
    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise ImportError(f"hub:{name} needs huggingface_hub: pip install 'mrpbook[images]'") from error
    repository, _, revision = name.partition("@")
    of = {"repo_type": "dataset", "revision": revision or None}
    wanted = ["*.parquet"] if split is None else [f"*{word}*.parquet" for word in SPLIT_WORDS.get(split, (split,))]
    try:
        folder = Path(hub.snapshot_download(repository, **of, allow_patterns=wanted, local_files_only=True))
        if any(split in (None, tables.split_of(path.relative_to(folder))) for path in tables.files(folder)):
            return folder
    except OSError:  # not in the cache, or not all of it
        pass
    try:
        listed = hub.HfApi().list_repo_files(repository, **of)
        there = [PurePosixPath(path) for path in listed if path.endswith(".parquet")]
        if not there:
            raise ValueError(f"hub:{name} has no Parquet files: the hub may keep converted ones, try "
                             f"'hub:{repository}@refs/convert/parquet'")
        chosen = [str(path) for path in tables.of_split(there, split, f"hub:{name}")]
        return Path(hub.snapshot_download(repository, **of, allow_patterns=[*chosen, "README.md"]))
    except ValueError:
        raise
    except Exception as error:  # which exception stands for "no network" depends on huggingface_hub's version
        raise ConnectionError(f"hub:{name} could not be fetched ({type(error).__name__}: {error}): check the name and the "
                              "network, or load a local copy by its path") from error


def stated_licence(folder: Path) -> str | None:
    """The licence that README.md's front matter states, if there is one."""
    import yaml
    readme = folder / "README.md"
    parts = readme.read_text("utf-8", "replace").split("---", 2) if readme.is_file() else []
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        licence = yaml.safe_load(parts[1])["license"]
    except (yaml.YAMLError, KeyError, TypeError):
        return None
    return f"as README.md states: {', '.join(map(str, licence)) if isinstance(licence, list) else licence}"
