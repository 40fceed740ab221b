"""Errors that name argument, value and range."""
import math
import numbers


def check_integer(name: str, value, low: int) -> int:
    """value as an int >= low; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name} = {value!r}: expected an integer >= {low}")
    return int(value)


def check_real(name: str, value, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
    """value as a float in [low, high] (or (low, high] with open_low); ValueError otherwise, also for NaN and inf."""
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if not ok or value > high or value < low or (open_low and value == low):
        left = "(" if open_low else "["
        right = "inf)" if math.isinf(high) else f"{high:g}]"
        raise ValueError(f"{name} = {value!r}: expected a number in {left}{low:g}, {right}")
    return float(value)


def check_range(name: str, pair, low: float, *, open_low: bool = False) -> None:
    """pair is (a, b) with low <= a <= b; ValueError otherwise."""
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        raise ValueError(f"{name} = {pair!r}: expected (low, high)")
    check_real(f"{name}[0]", pair[0], low, open_low=open_low)
    check_real(f"{name}[1]", pair[1], low, open_low=open_low)
    if pair[0] > pair[1]:
        raise ValueError(f"{name} = {pair!r}: expected low <= high")


def check_choice(name: str, value, allowed) -> None:
    """value is one of `allowed`; ValueError otherwise."""
    if value not in allowed:
        raise ValueError(f"{name} = {value!r}: expected one of {', '.join(map(repr, allowed))}")


def check_same(name: str, value, other: str, expected) -> None:
    """value equals what `other` implies; ValueError otherwise."""
    if value != expected:
        raise ValueError(f"{name} = {value!r}: expected {expected!r}, to match {other}")
