# Everything a reader or contributor runs; `make help` says what each target costs.
PY ?= python3
TIER ?= book
SCHEDULER ?=
PAGES ?=
PORT ?= 8000
BIN := .venv/bin
RUN := $(BIN)/python -m

.PHONY: help setup book paper test bench bench-full claims lab serve clean

help:
	@echo "make book             run every notebook and build the site: 20 to 40 minutes on 2 cores, then seconds"
	@echo "make book TIER=smoke  the same with small samples: 5 minutes; verdicts may stay undecided"
	@echo "make book TIER=paper  the same with large samples: a night and a day on a CPU; stop and resume as you like"
	@echo "make paper PAGES=06-where-it-stops  that page with large samples, kept in book/results/paper: 5 to 40 minutes"
	@echo "make book SCHEDULER=tcp://host:8786  the same on a cluster, see book/rerun.md"
	@echo "make claims           print the ledger of the last run; fails if a verdict is not the expected one"
	@echo "make test             unit tests, every notebook with small samples, checks of that site: 10 minutes"
	@echo "make bench            the gradient and a draw beside autograd, torch.compile and JAX, on one core: 3 minutes"
	@echo "make bench-full       the same with large cases and with what was tried and not kept: 20 minutes"
	@echo "make lab              open the notebooks in JupyterLab"
	@echo "make serve            show the site at http://localhost:$(PORT)"
	@echo "make clean            remove results and built pages, keep .venv"
	@echo "The first of them installs into .venv (2 minutes, 2 GB). PY=python3.12 chooses the Python."

setup:
	@sh tools/setup.sh $(PY)

book: setup
	@$(RUN) doit -f tools/dodo.py -d . tier=$(TIER) $(if $(SCHEDULER),scheduler=$(SCHEDULER))
	@echo "open book/_build/html/index.html in a browser, or run: make serve"

paper: setup
	@$(RUN) tools.paper $(PAGES)

test: setup
	@$(RUN) ruff check --quiet --output-format concise .
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(RUN) pytest -n 2 --dist loadfile
	@$(RUN) doit -f tools/dodo.py -d . tier=smoke into=results/smoke-site
	@$(RUN) tools.claims --tier smoke --into results/smoke-site
	@$(RUN) tools.browser_check results/smoke-site/book/_build/html

bench bench-full:
	@sh tools/setup.sh $(PY) bench
	@mkdir -p results/logs
	@$(RUN) pytest benchmarks --size $(if $(filter bench,$@),bench,full) --benchmark-quiet --benchmark-json=results/logs/bench.json
	@$(RUN) benchmarks.report results/logs/bench.json results/bench.json
	@echo "the same numbers: results/bench.json"

claims: setup
	@$(RUN) tools.claims

lab: setup
	@$(BIN)/jupytext-config --settings-file .venv/share/jupyter/lab/settings/overrides.json set-default-viewer markdown >/dev/null
	@cd notebooks && ../$(BIN)/jupyter lab

serve: setup
	@test -d book/_build/html || { echo "no site yet: run make book"; exit 1; }
	@echo "http://localhost:$(PORT)  (Ctrl-C ends it)"
	@$(RUN) http.server $(PORT) --bind 127.0.0.1 --directory book/_build/html

clean:
	@rm -rf results book/_build book/chapters
	@echo "removed results, book/_build and book/chapters; .venv stays"
