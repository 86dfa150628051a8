"""Ranks and a scheduler that stand in for those of a launcher, and note what they are asked."""

from contextlib import contextmanager

from ssdd_bench.evaluation.launch_settings import Launch


class Stand:
    """Stands in for the scheduler of a module: keeps what it is given, and does what it is told."""

    def __init__(self, monkeypatch, module, *runs):
        self.runs, self.given = list(runs), []
        monkeypatch.setattr(module, "Scheduler", self.make)
        monkeypatch.setattr(Launch, "slots", lambda *given: given)

    def make(self, groups, slots, watcher, timeout, shares=None, quiet=None):
        self.given.append((groups, slots, timeout, shares, quiet))
        self.watcher = watcher
        return self

    def run(self):
        if self.runs:
            self.runs.pop(0)(self.watcher)


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
