"""Open the built site in headless Chromium at phone and desktop width: python -m tools.browser_check SITE

Every page must typeset all formulas without an error, show every image, load nothing from another host and
not be wider than the window. Skipped, with a reason, where no Chromium is found.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

WIDTHS = (390, 1400)
TIMEOUT_S = 240
GENERATED = ("index", "genindex", "py-modindex", "search", "prf-prf")  # index.html only leads on
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><script>
const pages = PAGES, widths = WIDTHS, found = [];
const sleep = ms => new Promise(done => setTimeout(done, ms));
// An element that sticks out of the window counts unless something around it scrolls or clips.
function culprit(doc, width) {
  for (const e of doc.querySelectorAll("main *")) {
    if (e.getBoundingClientRect().right <= width + 1) continue;
    let p = e, held = false;
    while (p && !(held = /auto|scroll|hidden|clip/.test(getComputedStyle(p).overflowX))) p = p.parentElement;
    if (!held) return e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + "." + e.className;
  }
  return "?";
}
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.src = "/" + page;
  const loaded = new Promise(done => frame.onload = done);
  document.body.replaceChildren(frame);
  await loaded;
  const win = frame.contentWindow, doc = frame.contentDocument;
  const say = text => found.push(`${page} at ${width} px: ${text}`);
  if (win.MathJax && win.MathJax.startup) await win.MathJax.startup.promise;
  for (const i of doc.images) { i.loading = "eager"; if (i.offsetParent) await i.decode().catch(() => 0); }
  await sleep(50);
  const maths = doc.querySelectorAll("span.math, div.math").length;
  if (maths && !doc.querySelector("mjx-container")) say(`${maths} formulas, none typeset`);
  const errors = [...doc.querySelectorAll("mjx-merror, [data-mjx-error]")];
  if (errors.length) say(`${errors.length} formulas with errors: ` + errors[0].getAttribute("title"));
  for (const i of doc.images)
    if (i.offsetParent && !i.naturalWidth) say("broken image " + i.src.slice(0, 80));
  const wide = doc.documentElement.scrollWidth;
  if (wide > width + 1) say(`${wide} px wide because of ` + culprit(doc, width));
  for (const r of win.performance.getEntriesByType("resource"))
    if (!r.name.startsWith(location.origin) && !/^(data|blob):/.test(r.name)) say("loads " + r.name);
}
(async () => {
  try { for (const page of pages) for (const width of widths) await look(page, width); }
  catch (error) { found.push("the check itself failed: " + error); }
  await fetch("/__result", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def command(program: str, profile: str) -> list[str]:
    return [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--window-size=1400,1000"]


def server(site: Path, probe: str, result: list, done: threading.Event) -> http.server.ThreadingHTTPServer:
    """Serves the site, the probe page at /__probe, and a page in a frame of a given width at /__frame?."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/__probe":
                self.page(probe)
            elif self.path.startswith("/__frame?"):
                width, page = self.path.split("?", 1)[1].split(",", 1)
                style = f"width:{width}px;height:3000px;border:0"
                frame = f'<iframe style="{style}" src="/{page}"></iframe>'
                self.page(f'<!doctype html><body style="margin:0">{frame}')
            else:
                super().do_GET()

        def page(self, text):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def do_POST(self):
            result.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()
            done.set()

        def log_message(self, *args):
            pass

    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site)))
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


def shoot(program: str, base: str, pages: list[str], folder: Path) -> None:
    """A picture of each page at each width, 3000 px high."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        for width in WIDTHS:
            name = folder / f"{page.removesuffix('.html').replace('/', '-')}-{width}.png"
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
                subprocess.run([*command(program, profile), f"--window-size={max(width, 500)},3000",
                                "--virtual-time-budget=10000", f"--screenshot={name}",
                                f"{base}/__frame?{width},{page}"], capture_output=True, timeout=TIMEOUT_S)


def check(site: Path, shots: Path | None = None) -> list[str] | None:
    """What is wrong with the site, one line each; None if there is no Chromium."""
    program = chromium()
    if program is None:
        return None
    found = (p.relative_to(site) for p in sorted(site.rglob("*.html")) if "_static" not in p.parts)
    pages = [str(p) for p in found if p.stem not in GENERATED]
    probe = PROBE.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
    result, done = [], threading.Event()
    http_server = server(site, probe, result, done)
    base = f"http://127.0.0.1:{http_server.server_port}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser = subprocess.Popen([*command(program, profile), f"{base}/__probe"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not done.wait(TIMEOUT_S):
                result.append(f"Chromium gave no answer within {TIMEOUT_S} s")
        finally:
            browser.terminate()
            browser.wait(20)
    if shots:
        shoot(program, base, pages, shots)
    http_server.shutdown()
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--shots", type=Path, help="folder for a picture of each page at each width")
    given = parser.parse_args()
    faults = check(given.site.resolve(), given.shots)
    if faults is None:
        print(f"{'browser check':<28} skipped: no Chromium found (set CHROMIUM to its path)")
    else:
        print("\n".join(faults) or f"{'browser check':<28} passed at {' and '.join(map(str, WIDTHS))} px")
    raise SystemExit(bool(faults))
