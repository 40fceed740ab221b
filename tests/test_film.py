"""Films: self-contained, small, reachable by keyboard, still until asked."""

import base64
import re
import shutil
import subprocess

import numpy as np
import pytest
from bs4 import BeautifulSoup

from mrpbook.film import LARGEST, film, grid

TEXTS = {"message": "Kernels race.", "uncertainty": "One draw.", "alt": 'Rows; "one" cell < each stays.'}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START = np.random.default_rng(0).random((60, 20))


def race(canvas, step):
    ax = canvas.subplots()
    grid(ax, START ** (1 + step))
    ax.set(xlabel="semantic", ylabel="kernel")


@pytest.fixture(scope="module")
def short():
    return film(range(3), race, names=["start", "ID <b>", "end"], **TEXTS)


@pytest.mark.parametrize("text", TEXTS)
def test_a_film_without_alt_text_uncertainty_or_message_is_refused(text):
    with pytest.raises(ValueError, match=text):
        film(range(3), race, **(TEXTS | {text: " "}))
    with pytest.raises(TypeError, match=text):
        film(range(3), race, **{k: v for k, v in TEXTS.items() if k != text})


def test_a_film_names_nothing_outside_itself(short):
    page = BeautifulSoup(short._repr_html_(), "html.parser")
    assert "http" not in re.sub(r"[A-Za-z0-9+/=]{200,}", "", short._repr_html_())
    assert not page.find_all(["link", "iframe", "style", "object", "video"]) and not page.find_all(href=True)
    assert all(tag["src"].startswith("data:image/webp;base64,") for tag in page.find_all(src=True))


def test_without_scripts_a_film_shows_its_last_frame_with_alt_text_and_no_dead_buttons(short):
    page = BeautifulSoup(short._repr_html_(), "html.parser")
    assert page.img["alt"] == TEXTS["alt"]
    assert base64.b64decode(page.img["src"].partition(",")[2])[:4] == b"RIFF"
    assert page.img["src"].partition(",")[2] == re.findall(r"[\w+/=]{200,}", page.script.text)[-1]
    assert page.button.find_parent("div").has_attr("hidden") and page.input["aria-label"]


def test_the_same_frames_give_the_same_bytes_and_other_frames_another_id(short):
    assert film(range(3), race, names=["start", "ID <b>", "end"], **TEXTS) == short
    bodies = short.body, film(range(2), race, **TEXTS).body
    assert len({re.search(r'data-film="(\w+)"', body)[1] for body in bodies}) == 2


def test_twenty_four_frames_of_sixty_kernels_stay_below_a_megabyte():
    assert len(film(range(24), race, **TEXTS)._repr_html_()) <= LARGEST


def test_a_film_that_is_too_large_or_too_short_or_hard_to_read_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="frames: 1"):
        film([1], race, **TEXTS)
    with pytest.raises(ValueError, match="names: 1"):
        film([1, 2], race, names=["a"], **TEXTS)
    with pytest.raises(ValueError, match="smaller than 9 points"):
        film([1, 2], lambda canvas, _: canvas.text(0.5, 0.5, "tiny", size=6), **TEXTS)
    monkeypatch.setattr("mrpbook.film.LARGEST", 1000)
    with pytest.raises(ValueError, match="allowed: 1000"):
        film([1, 2], race, **TEXTS)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")
@pytest.mark.parametrize("calm", [False, True])
def test_in_a_browser_play_runs_to_the_end_and_reduced_motion_steps_instead(short, tmp_path, calm):
    probe = """<script>
    const [, button] = document.querySelectorAll("button");
    const [other, name] = document.querySelectorAll("output");
    const said = [], look = () => said.push(button.textContent, name.textContent);
    look(); button.click(); look();
    setTimeout(() => { look(); document.title = [...said, other.textContent].join("|"); }, 900);
    </script>"""
    page = tmp_path / "page.html"  # the film twice: both copies must work, each on its own
    html = '<!doctype html><meta charset="utf-8">' + 2 * short._repr_html_() + probe
    page.write_text(html, encoding="utf-8")
    flags = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run"
    flags += " --dump-dom --virtual-time-budget=3000" + " --force-prefers-reduced-motion" * calm
    command = [CHROMIUM, *flags.split(), f"--user-data-dir={tmp_path}/profile", page.as_uri()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True)
    title = BeautifulSoup(done.stdout, "html.parser").title.text
    if calm:
        assert title == "Next|end|Next|start|Next|start|end"
    else:
        assert title == "▶ Play|end|▮▮ Pause|start|▶ Play|end|end"
