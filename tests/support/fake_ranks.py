"""Ranks that stand in for those of a launcher, and note what they are asked."""

from contextlib import contextmanager


class FakeRanks:
    """The other rank as far as it shows: what it has found.

    Args:
        seen: takes what is asked, in order.
        theirs: what the other rank gives when all gather.
        own: this rank.
        timeout: seconds.
    """

    waiting = "quiet"  # stands for the function that waits for a turn

    def __init__(self, seen, theirs, own, timeout):
        self.seen, self.theirs, self.own = seen, theirs, own
        seen.append(("rank", own, timeout))

    @contextmanager
    def connected(self):
        yield self
        self.seen.append("parted")

    @contextmanager
    def in_turn(self, one_by_one):
        self.seen.append(("in turn", one_by_one))
        yield self.waiting
        self.seen.append("next")

    def collect(self, *given):
        self.seen.append(("collect", *given))

    def gather(self, value):
        self.seen.append("gather")
        return [value, self.theirs]

    def meet(self):
        self.seen.append("meet")
