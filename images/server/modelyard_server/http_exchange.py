"""One request and the place for its answer, between a connection and what answers."""

from collections.abc import Callable
from typing import Protocol

from modelyard_server.http_messages import Request, Response
from modelyard_server.routes import Route


class Exchange:
    """A request, and its answer, which may come later but from the same thread only."""

    __slots__ = ("_answered", "admitted", "close", "gone", "held", "on_gone", "request", "response", "rest", "route")

    def __init__(self, request: Request, answered: "Callable[[Exchange], None]", *, close: bool) -> None:
        self.request = request
        self.response: Response | None = None
        self.route: Route | None = None
        """What is asked, once the handler knows it."""
        self.rest: Callable[[Callable[[], None]], None] | None = None
        """Where the connection is to be read again, after this answer, only when what it hands over here is called."""
        self.close = close
        """Whether the connection ends with the answer."""
        self.admitted = False
        """Whether it has a place among the requests in flight, which ``Handler.end`` gives back."""
        self.held = 0
        """Bytes of the body that were admitted, which ``Handler.end`` gives back."""
        self.gone = False
        """Whether the client closed the connection: nobody waits for an answer."""
        self.on_gone: Callable[[], None] | None = None
        """Called when that happens, so that the work can be dropped."""
        self._answered = answered

    def answer(self, response: Response) -> None:
        """Send ``response``; only the first counts, and none does once the client is gone."""
        if self.response is None:
            self.response = response
            self.on_gone = None
            if not self.gone:
                self._answered(self)

    def leave(self) -> None:
        """Say that the client is gone."""
        self.gone = True
        if self.on_gone is not None:
            dropped, self.on_gone = self.on_gone, None
            dropped()


class Handler(Protocol):
    """What answers requests. For each one: ``refuse``, then ``hold`` and ``handle`` unless refused, then ``end``."""

    @property
    def closing(self) -> bool:
        """Whether each answer is to be the last of its connection."""
        ...

    def refuse(self, exchange: Exchange, size: int | None) -> Response | None:
        """The answer that needs no body of ``size`` bytes (None: of unknown size), or None to let the request in."""
        ...

    def hold(self, exchange: Exchange, size: int) -> Response | None:
        """Let in ``size`` more bytes of a body of unknown size, or say why not."""
        ...

    def handle(self, exchange: Exchange) -> None:
        """Have the exchange answered, now or later. Does not raise."""
        ...

    def end(self, exchange: Exchange) -> None:
        """The exchange is over: its answer was written, or its client is gone."""
        ...
