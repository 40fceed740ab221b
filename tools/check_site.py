"""Check a built site without a browser: python -m tools.check_site book/_build/html

Finds what `-W` does not: broken links and anchors, missing files, anything loaded from the network, images
without alt text, tracebacks, empty outputs, markup that was not rendered, paths of the machine that built it.
"""

import re
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

RAW = re.compile(
    r"\{(?:prf:)?(?:verdict|ref|numref|eq|cite(?::[a-z]+)?|doc|term|glue(?::\w+)?|math|theorem|proof|assumption"
    r"|definition|margin|note|figure|admonition|download|ledger(?:-summary)?)\}|```|:::|\$\$|\]\(#"
)
LOADED = (("img", "src"), ("script", "src"), ("source", "src"), ("video", "src"), ("iframe", "src"),
          ("object", "data"))
NOT_LOADED = {"canonical", "next", "prev", "search", "author", "index", "copyright", "alternate"}


@cache
def _soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@cache
def _anchors(path: Path) -> frozenset[str]:
    return frozenset(tag.get(k) for tag in _soup(path).find_all(True) for k in ("id", "name") if tag.get(k))


def _target(page: Path, url: str) -> Path:
    path = unquote(urlsplit(url).path)
    return (page.parent / path).resolve() if path else page.resolve()


def _is_remote(url: str) -> bool:
    return url.startswith(("http://", "https://", "//"))


def links(page: Path, site: Path):
    for tag in _soup(page).find_all("a", href=True):
        url = tag["href"]
        if _is_remote(url) or urlsplit(url).scheme in ("mailto", "javascript", "data"):
            continue
        target, anchor = _target(page, url), unquote(urlsplit(url).fragment)
        if target.is_dir():
            target = target / "index.html"
        if not target.exists():
            yield f"link to a missing file: {url}"
        elif site not in target.parents:
            yield f"link that leaves the site: {url}"
        elif anchor and target.suffix == ".html" and anchor not in _anchors(target):
            yield f"link to a missing anchor: {url}"


def loads(page: Path, site: Path):
    """Files that opening the page loads: all must be there, none may come from the network."""
    soup = _soup(page)
    urls = [tag[attr] for name, attr in LOADED for tag in soup.find_all(name) if tag.get(attr)]
    urls += [t["href"] for t in soup.find_all("link", href=True) if not NOT_LOADED & set(t.get("rel", []))]
    for url in urls:
        if url.startswith("data:") or url.startswith("#"):
            continue
        if _is_remote(url):
            yield f"loaded from the network: {url}"
        elif not _target(page, url).exists():
            yield f"missing file: {url}"
    for style in soup.find_all("style"):
        if re.search(r"url\(\s*['\"]?(https?:)?//|@import", style.get_text()):
            yield "a style sheet in the page loads from the network"
    formulas = soup.select(".math")
    scripts = [tag["src"] for tag in soup.find_all("script", src=True) if "mathjax" in tag["src"].lower()]
    if formulas and not scripts:
        yield "formulas without MathJax"


def images(page: Path, site: Path):
    for tag in _soup(page).find_all("img"):
        alt, src = (tag.get("alt") or "").strip(), tag.get("src", "")[:60]
        if not alt:
            yield f"image without alt text: {src}"
        elif "article" in [p.name for p in tag.parents] and re.search(r"\.(png|svg|jpe?g|webp|gif)$", alt):
            yield f"alt text is a file name: {alt}"


def content(page: Path, site: Path):
    article = _soup(page).find("article") or _soup(page)
    for output in article.select("div.cell_output"):
        drawn = output.find(["img", "svg", "table", "video", "canvas", "input", "object"])
        if not drawn and not output.get_text(strip=True):
            yield "empty output"
    if article.select(".traceback, .system-message, .problematic"):
        yield "traceback or error message of the builder"
    if "Traceback (most recent call last)" in article.get_text():
        yield "traceback in an output"
    prose = BeautifulSoup(str(article), "html.parser")
    for tag in prose.select("pre, code, script, style, .math, textarea, .cell_output"):
        tag.decompose()
    for found in RAW.finditer(prose.get_text(" ")):
        around = " ".join(prose.get_text(" ")[max(0, found.start() - 20) : found.end() + 40].split())
        yield f"markup that was not rendered: {around}"


def style_sheets(site: Path):
    for path in site.rglob("*.css"):
        text = path.read_text(encoding="utf-8", errors="replace")
        if re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", text):
            yield f"{path.relative_to(site)}: loads from the network"


def problems(site: Path, root: Path | None = None) -> list[str]:
    """Everything wrong with the site, one line each; an empty list if all is well."""
    site = site.resolve()
    pages = sorted(p for p in site.rglob("*.html") if "_static" not in p.parts and "_sources" not in p.parts)
    if not pages:
        return [f"no page in {site}"]
    found = list(style_sheets(site))
    for page in pages:
        name = page.relative_to(site)
        found += [f"{name}: {p}" for check in (links, loads, images, content) for p in check(page, site)]
        if root and str(root) + "/" in page.read_text(encoding="utf-8"):
            found.append(f"{name}: holds the path of this machine, {root}")
    _soup.cache_clear()
    _anchors.cache_clear()
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    result = problems(Path(sys.argv[1]), Path(__file__).resolve().parents[1])
    print("\n".join(result) or "the site is sound: links, files, alt text, outputs, markup")
    sys.exit(bool(result))
