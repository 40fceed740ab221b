"""Objectives that the tests of the test bench share."""

import mrpbook as mb


def rewritten(w, X, act, theta=0.9):
    """The normalised teacher's loss, masks averaged, as a reader would write it."""
    answers = act(X @ w.T)
    h = answers.sum(1)
    target = (h / h.pow(2).mean(0).sqrt()).detach()
    return ((target - h) ** 2 + (1 - theta) / theta * answers.pow(2).sum(1)).sum() / (2 * len(X))


class Remembers:
    """Slows down with each call: a run that saw another's past would give another answer."""

    independent = False

    def __init__(self):
        self.past = []

    def descent(self, w, X, act):
        self.past.append(1)
        return mb.NormalisedTeacher().descent(w, X, act) / len(self.past)
