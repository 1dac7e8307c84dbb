"""A stage: actors in threads of which one runs at a time, each until it is interrupted, killed or done.

An actor is a process of a shop: a worker, an operator's command, an import. It may be interrupted wherever it calls
something outside of itself and is in no transaction, so each schedule of several processes can be played, and played
again from its seed.
"""

import threading

from django.db import connection, connections


class Killed(BaseException):
    """kill -9: no ``except Exception`` hears of it, and what a transaction has done so far is gone."""


class Actor:
    def __init__(self, stage, name, act):
        self.stage, self.name, self.act = stage, name, act
        self.turn = threading.Semaphore(0)
        self.is_over = False
        self.is_writing = False
        """Between its lease's renewal and its settling."""
        self.overslept = False
        """Its lease ran out while it was writing."""
        self.is_spared = False
        """Never killed."""
        self.error = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self):
        self.turn.acquire()
        self.stage.local.actor = self
        try:
            self.act()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()
            self.is_over = True
            self.stage.baton.release()

    def go_on(self):
        """Until it is interrupted or over."""
        self.turn.release()
        assert self.stage.baton.acquire(timeout=120), f"{self.name} hangs"
        if self.is_over:
            self.thread.join()
            self.stage.actors.remove(self)
            if self.error:
                raise self.error


class Stage:
    def __init__(self, dice):
        self.dice = dice
        self.baton = threading.Semaphore(0)
        self.local = threading.local()
        self.actors = []
        self.interruptions, self.kills = 0.0, 0.0
        """How probable they are, at each call."""
        self.log = []

    def enter(self, name, act):
        actor = Actor(self, name, act)
        self.actors.append(actor)
        return actor

    @property
    def actor(self):
        """Whose turn it is; None where the schedule itself acts."""
        return getattr(self.local, "actor", None)

    def point(self, name):
        """Here an actor may be interrupted, or killed."""
        if self.actor is None or connection.in_atomic_block:
            return
        if self.dice.random() < self.kills and not (self.actor.overslept or self.actor.is_spared):
            self.log.append(f"{self.actor.name} is killed {name}")
            raise Killed
        if self.dice.random() < self.interruptions:
            self.log.append(f"{self.actor.name} is interrupted {name}")
            self.baton.release()
            self.actor.turn.acquire()

    def clear(self):
        """Let everybody finish in peace."""
        self.interruptions = self.kills = 0.0
        while self.actors:
            self.actors[0].go_on()
