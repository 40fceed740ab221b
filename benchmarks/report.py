"""From pytest-benchmark's file to a table and results/bench.json: `python -m benchmarks.report RAW INTO`."""
import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from mrpbook import __version__

REFERENCE = ("ours compiled", "ours", "base")  # what others are divided by: the first of these roles that a case has


def rows(raw: dict) -> list[dict]:
    """One object per (case, way).

    ms: median over rounds of the fastest call of a round, in processor time; in wall time for a case whose name says so.
    ratio, ratio_low, ratio_high: median, lowest and highest over rounds of time / time of `ratio_to` in the same round;
    ratio_to_eager: the median of the same against the eager blocks. n: rounds. floor_ms: the matrix products alone;
    share_of_floor: floor / time. gflop: operation count of the matrix products, gflops: the same per second; share_of_peak:
    against a large product in the same round. compile_s: until the first answer, less the time of a call. cpu_per_wall:
    processor time / wall time, 1 on a quiet machine. steps_per_s: gradients of one network
    per second. pictures_per_s: pictures learned from. What a case lacks is None.
    """
    cases = defaultdict(lambda: defaultdict(dict))
    for one in raw["benchmarks"]:
        info = one["extra_info"]
        cases[info["case"]][info["way"]][info["round"]] = info | {"s": one["stats"]["min"]}
    common = {"machine": raw["machine_info"], "date": raw["datetime"][:10], "version": __version__, "size": raw["size"]}
    return [_row(case, way, ways) | common for case, ways in cases.items() for way in ways]


def _row(case, way, ways):
    roles = {next(iter(turns.values()))["role"]: name for name, turns in ways.items()}
    reference = next((roles[role] for role in REFERENCE if role in roles), None)
    turns = ways[way]
    info = next(iter(turns.values()))
    ms = 1e3 * median(t["s"] for t in turns.values())

    def against(other, of=lambda mine, its: mine["s"] / its["s"]):
        """The quotient with another way, round by round."""
        if other is None:
            return None
        return [of(turn, ways[other][round]) for round, turn in turns.items() if round in ways[other]] or None

    yardstick = info["role"] == "peak"  # another problem: nothing but its own speed
    ratio, eager, floor = ([None] * 3 if yardstick else
                           [against(other) for other in (reference, roles.get("ours"), roles.get("floor"))])
    peak = against(roles.get("peak"), lambda mine, its: mine["work"] / mine["s"] * its["s"] / its["work"])
    floor_turns = ways[roles["floor"]].values() if "floor" in roles else []
    return {
        "case": case, "way": way, "role": info["role"], "ms": ms,
        "ratio": ratio and median(ratio), "ratio_low": ratio and min(ratio), "ratio_high": ratio and max(ratio),
        "ratio_to": reference, "ratio_to_eager": eager and median(eager), "n": len(turns),
        "floor_ms": 1e3 * median(t["s"] for t in floor_turns) if floor_turns else None,
        "share_of_floor": floor and 1 / median(floor), "gflop": info["work"], "gflops": info["work"] / ms * 1e3,
        "share_of_peak": peak and median(peak), "compile_s": info["compile_s"],
        "cpu_per_wall": median(t["cpu_per_wall"] for t in turns.values()), "steps_per_s": info["steps"] / ms * 1e3,
        "pictures_per_s": info["pictures"] / ms * 1e3 if info["pictures"] else None,
    }


COLUMNS = {  # key: (heading, width, format)
    "ms": ("ms", 9, ".2f"), "ratio": ("ratio", 7, ".2f"), "spread": ("low - high", 16, ""),
    "ratio_to_eager": ("to eager", 9, ".2f"), "gflop": ("GFLOP", 9, ".3g"), "gflops": ("GFLOP/s", 8, ".1f"),
    "share_of_peak": ("of peak", 8, ".0%"), "share_of_floor": ("of floor", 9, ".0%"), "compile_s": ("compile s", 10, ".1f"),
    "steps_per_s": ("steps/s", 8, ".0f"), "pictures_per_s": ("pictures/s", 11, ".0f"), "cpu_per_wall": ("cpu/wall", 9, ".2f"),
}


def table(found: list[dict], missing: list[dict]) -> str:
    """One block per case, and one line per way that is not there."""
    out = []
    for case in dict.fromkeys(row["case"] for row in found):
        mine = [row | {"spread": row["ratio"] and f"{row['ratio_low']:.2f} - {row['ratio_high']:.2f}"}
                for row in found if row["case"] == case]
        columns = {key: column for key, column in COLUMNS.items() if any(row[key] is not None for row in mine)}
        for key in ("gflop",) if mine[0]["floor_ms"] else ():  # the same for every way
            del columns[key]
        width = max(len(row["way"]) for row in mine) + 2
        out += ["", f"{case}: {mine[0]['gflop']:.3g} GFLOP" if mine[0]["floor_ms"] else f"{case}",
                f"  n = {mine[0]['n']} rounds, ratio to '{mine[0]['ratio_to']}'",
                "  " + " " * width + "".join(f"{heading:>{w}}" for heading, w, _ in columns.values())]
        out += ["  " + f"{row['way']:{width}}" + "".join(f"{'' if row[key] is None else format(row[key], form):>{w}}"
                                                        for key, (_, w, form) in columns.items()) for row in mine]
    left_out = dict.fromkeys(f"left out: {one['way']}: {one['lacks']}" for one in missing)
    return "\n".join(out + [""] * bool(left_out) + list(left_out))


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path)
    parser.add_argument("into", type=Path)
    options = parser.parse_args(arguments)
    raw = json.loads(options.raw.read_text())
    found = rows(raw)
    options.into.write_text(json.dumps(found, indent=1) + "\n")
    machine = raw["machine_info"]
    print(table(found, raw["missing"]))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None))


if __name__ == "__main__":
    main()
