"""Films that need neither network nor plug-in."""

import base64
import hashlib
import html
import json
import re
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from .look import STYLE, framed, grid, require, saved

__all__ = ["Film", "film", "grid"]
LARGEST = 1_000_000  # bytes of HTML per film
# Nothing moves by itself: the last frame stands until a reader asks. Who prefers less motion steps through.
# Two equal films on a page share an id, so the script serves every element that carries it, once.
PLAYER = """<div data-film="ID" style="max-width:35rem">
<img class="dark-light" src="STILL" alt="ALT"
 style="width:100%;height:auto;padding:0;display:block;background:#fcfcfa">
<div hidden style="gap:.6rem;align-items:center;margin-top:.4rem;color:#222">
<button type="button" style="min-width:5.5rem;min-height:2.4rem;font:inherit;color:#222;background:#eceae2;
 border:1px solid #80807a;border-radius:4px;cursor:pointer">Play</button>
<input type="range" min="0" max="LAST" value="LAST" step="1" aria-label="Frame"
 style="flex:1;min-width:0;min-height:2.4rem;accent-color:#16349a">
<output style="min-width:5rem;text-align:right;font-size:.85rem">END</output></div></div>
<script>(() => {
const frames = FRAMES, names = NAMES, last = frames.length - 1;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
for (const film of document.querySelectorAll('[data-film="ID"]')) {
  if (film.dataset.ready) continue;
  film.dataset.ready = "yes";
  const [image, bar] = film.children, [button, slider, name] = bar.children;
  let timer = null;
  const at = () => +slider.value;
  const show = i => {
    image.src = "data:image/webp;base64," + frames[i];
    slider.value = i;
    name.textContent = names[i];
    slider.setAttribute("aria-valuetext", names[i]);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = still ? "Next" : "\\u25b6 Play";
  };
  const next = () => { show(at() < last ? at() + 1 : 0); if (at() === last) stop(); };
  button.onclick = () => {
    if (timer) return stop();
    next();
    if (still || at() === last) return;
    timer = setInterval(next, PAUSE);
    button.textContent = "\\u25ae\\u25ae Pause";
  };
  slider.oninput = () => { stop(); show(at()); };
  bar.hidden = false;
  bar.style.display = "flex";
  stop();
  show(last);
}})();</script>"""


class Film(NamedTuple):
    """A finished film: `body` is HTML that shows its last frame without scripts and plays with them."""

    body: str
    message: str
    uncertainty: str
    alt: str

    def _repr_html_(self) -> str:
        return framed(self.body, self.message, self.uncertainty)

    def __repr__(self) -> str:
        return f"{self.message} [{self.alt}]"


def film(frames, draw, *, message, uncertainty, alt, names=None, interval=250, height=3.0) -> Film:
    """A film with play and pause, a slider (arrow keys move it) and names of frames; no network.

    frames: 2 or more; draw(canvas, frame) fills an empty matplotlib Figure of 3.7 x `height` inches: keep its
    limits fixed. names: a short text per frame ("step 40"); interval: milliseconds per frame. ValueError
    when a text is missing or smaller than 9 points, or when the film is larger than 1 MB.
    """
    require(message=message, uncertainty=uncertainty, alt=alt)
    frames = list(frames)
    names = [str(n) for n in names or [f"{i + 1} of {len(frames)}" for i in range(len(frames))]]
    if len(frames) < 2 or len(names) != len(frames):
        raise ValueError(f"frames: {len(frames)}, names: {len(names)}; needed: 2 or more, a name each")
    pictures = []
    with mpl.rc_context(STYLE):
        for frame in frames:
            canvas = Canvas(figsize=(3.7, height), layout="constrained")
            draw(canvas, frame)
            webp = saved(canvas, format="webp", dpi=220, pil_kwargs={"lossless": True, "method": 1})
            pictures.append(base64.b64encode(webp).decode())
    values = {
        "ID": hashlib.sha256(repr((pictures, names, alt, interval)).encode()).hexdigest()[:12],
        "STILL": "data:image/webp;base64," + pictures[-1],
        "ALT": html.escape(alt),
        "LAST": str(len(frames) - 1),
        "END": html.escape(names[-1]),
        "FRAMES": json.dumps(pictures),
        "NAMES": json.dumps(names).replace("<", "\\u003c"),
        "PAUSE": str(int(interval)),
    }
    body = re.sub("|".join(values), lambda key: values[key[0]], PLAYER)
    if len(body) > LARGEST:
        raise ValueError(f"frames: {len(frames)} make {len(body)} bytes, allowed: {LARGEST}; use fewer")
    return Film(body, message, uncertainty, alt)
