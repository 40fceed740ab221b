#!/bin/sh
# Make .venv and install from the lock, once: again only if pyproject.toml, constraints.txt or the Python change.
# A second argument names one more extra of pyproject.toml to install.
set -eu
python=${1:-python3}
stop() { echo "$1" >&2; exit 1; }

command -v "$python" >/dev/null 2>&1 || stop "$python is not installed: Python 3.11, 3.12 or 3.13 is needed (make book PY=python3.12 names another one)"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.11 | 3.12 | 3.13) ;;
    *) stop "$python is Python $version, and 3.11, 3.12 or 3.13 is needed: name another one, as in make book PY=python3.12" ;;
esac
key="$version $(cat pyproject.toml constraints.txt | cksum)"
marker=.venv/installed${2:+-$2}
if [ -f "$marker" ] && [ "$(cat "$marker")" = "$key" ]; then
    exit 0
fi
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    stop "$python has no venv module: install it (Debian and Ubuntu: apt install python$version-venv)"

log=results/logs/install.log
mkdir -p results/logs
echo "installing into .venv, a few minutes the first time; follow it with: tail -f $log"
if [ ! -x .venv/bin/python ] || [ "$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" != "$version" ]; then
    rm -rf .venv
    "$python" -m venv .venv >"$log" 2>&1 || stop "cannot make .venv: $(tail -n 1 "$log"); log: $log"
fi
.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[book,test${2:+,$2}]" >"$log" 2>&1 ||
    stop "the installation failed: $(grep -E '^ERROR' "$log" | tail -n 1); log: $log"
# compile what is compiled, so that no page waits for it
.venv/bin/python -c 'from mrpbook.core import prepare; prepare()' >>"$log" 2>&1 ||
    stop "the compiled loops do not work here: $(tail -n 1 "$log"); log: $log"
echo "$key" >.venv/installed
echo "$key" >"$marker"
