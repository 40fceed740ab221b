"""The timed ways are the same gradient; durations are read as they are meant."""
import pytest
import torch

from mrpbook.studies import timing


def test_every_way_has_a_time_in_every_turn_and_threads_are_given_back():
    threads = torch.get_num_threads()
    found = timing.gradient(rounds=2, N=20, P=4, d=6, K=5)
    assert set(found) == {"autograd", "whole", "blocks"} and all(len(v) == 2 and (v > 0).all() for v in found.values())
    assert torch.get_num_threads() == threads


def test_a_wrong_gradient_is_not_timed(monkeypatch):
    plain = timing.Descent.__call__
    monkeypatch.setattr(timing.Descent, "__call__", lambda self, w: 1.01 * plain(self, w))
    with pytest.raises(AssertionError, match="not the closed form"):
        timing.gradient(rounds=1, N=20, P=4, d=6, K=5)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.0312, "0.031 seconds"), (59, "59 seconds"), (89, "89 seconds"), (91, "1.5 minutes"), (7300, "2 hours"),
    (86400 * 11.4, "11 days"), (365 * 86400 * 1234, "1,200 years")])
def test_durations_are_given_in_a_unit_a_reader_can_picture(seconds, text):
    assert timing.shown(seconds) == text
