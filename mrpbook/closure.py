"""Which modules of the package a piece of code uses, read from its syntax tree; nothing is imported.

`import mrpbook as mb` counts as a use of those modules whose names follow `mb.`, so that a change to one
module re-executes only the pages, and computes again only the cells, that use it. A use that cannot be read
(`mb` passed on, `from mrpbook import *`) counts as a use of the whole package. Modules loaded by name at run
time are not seen, except those that the package itself loads late.
"""

import ast
import hashlib
from pathlib import Path


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file, for every module below `package`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _is_package(name: str, known: dict[str, Path]) -> bool:
    return known[name].name == "__init__.py"


def _resolve(package: str, attrs: list[str], known: dict[str, Path]) -> set[str]:
    """The modules behind `package.attrs[0].attrs[1]...`."""
    everything = {name for name in known if name == package or name.startswith(package + ".")}
    if not attrs:
        return everything
    name = f"{package}.{attrs[0]}"
    if name in known:
        return _resolve(name, attrs[1:], known) if _is_package(name, known) else {name}
    tree = ast.parse(known[package].read_text())
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and attrs[0] in [a.asname or a.name for a in node.names]:
            base = _base(node, package, True)
            return {base} if base in known and not _is_package(base, known) else everything
        if isinstance(node, ast.Assign) and attrs[0] in [getattr(t, "id", "") for t in node.targets]:
            return {package} if isinstance(node.value, ast.Constant) else everything
    return set() if attrs[0].startswith("__") else everything


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The dotted name that `from ... import` starts from."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parts = parts[: len(parts) - node.level + is_package]
    return ".".join(parts + ([node.module] if node.module else []))


def _attributes(node: ast.AST) -> tuple[str, list[str]] | None:
    attrs = []
    while isinstance(node, ast.Attribute):
        attrs.insert(0, node.attr)
        node = node.value
    return (node.id, attrs) if isinstance(node, ast.Name) else None


def uses(tree: ast.AST, known: dict[str, Path], module: str = "") -> set[str]:
    """The modules of the package that `tree` uses directly."""
    found, bound = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    target = alias.name if alias.asname else alias.name.split(".")[0]
                    if _is_package(target, known):
                        bound[alias.asname or target] = target
                    if not _is_package(alias.name, known):
                        found.add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, bool(module) and _is_package(module, known))
            if base not in known:
                continue
            for alias in node.names:
                name = f"{base}.{alias.name}"
                if name in known and _is_package(name, known):
                    bound[alias.asname or alias.name] = name
                elif not _is_package(base, known):
                    found.add(base)
                else:
                    found |= _resolve(base, [] if alias.name == "*" else [alias.name], known)
    inner = set()
    for node in ast.walk(tree):  # parents come before children, so the longest chain is seen first
        if id(node) in inner or not isinstance(node, ast.Attribute | ast.Name):
            continue
        chain = _attributes(node)
        if chain and chain[0] in bound:
            inner |= {id(child) for child in ast.walk(node)}
            found |= _resolve(bound[chain[0]], chain[1], known)
    return found


def closure(code: str, package: Path, module: str = "") -> dict[str, Path]:
    """The modules that `code` uses, directly or through other modules of `package`: dotted name -> file.

    module: the dotted name of `code` if it is itself a module of `package`; its relative imports start there.
    """
    known = modules(package)
    todo, done = uses(ast.parse(code), known, module), set()
    while todo:
        name = todo.pop()
        done.add(name)
        if not _is_package(name, known) or name.count("."):
            todo |= uses(ast.parse(known[name].read_text()), known, name) - done
    return {name: known[name] for name in sorted(done)}


def code_hash(files: dict[str, Path]) -> str:
    """A hash of what the modules do: comments, docstrings and layout do not count."""
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
                if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                    body[0] = ast.Pass()
        digest.update(f"{name}\0{ast.dump(tree)}\0".encode())
    return digest.hexdigest()
