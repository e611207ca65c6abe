"""The server's side of one HTTP/2 connection: bytes in, requests out; answers in, bytes out. Pure but for callbacks.

Source: RFC 9113. Not spoken: push, priorities, CONNECT, the upgrade from HTTP/1.1.
"""

from collections.abc import Callable

from modelyard_server import http2_fields
from modelyard_server import http2_frames as frames
from modelyard_server.http2_fields import FieldReader, Fields, RequestCheck
from modelyard_server.http2_frames import LARGEST, Code, Http2Error
from modelyard_server.http2_limits import Budget, EndedStreams, HeaderBlock, SessionLimits
from modelyard_server.http2_reader import FrameReader
from modelyard_server.http2_sender import Sender
from modelyard_server.http2_stream import Incoming, ReceiveWindow, Stream

Begin = Callable[[Stream, Fields], Incoming]

_PROBE = b"draining"


class Session:
    """Calls ``begin`` for each request that is well-formed; what it gives takes the body.

    What is to be written is in ``sender``. Once ``closed``, nothing more is read.
    """

    def __init__(self, limits: SessionLimits, begin: Begin, now: Callable[[], float]) -> None:
        self._limits = limits
        self._begin = begin
        self._now = now
        self._fields = FieldReader(limits.fields)
        self._resets = Budget(limits.resets)
        self._idle_frames = Budget(limits.idle_frames)
        self._reader = FrameReader(self._take)
        self._settled = False
        self._block = HeaderBlock(limits)
        self._last = 0
        self._ended = EndedStreams()
        self._check = RequestCheck()
        self._receives = ReceiveWindow(limits.connection_window)
        self._final = False
        self.sender = Sender(self._answered, now)
        self.streams: dict[int, Stream] = {}
        self.closed = False
        self.draining = False
        self.progress = 0
        """Grows with each frame that is complete, and that leaves no header block incomplete."""
        self.sender.out.append(limits.greeting())

    @property
    def incomplete(self) -> bool:
        """Whether a frame, a header block or the client's greeting is on its way."""
        return self._reader.incomplete or self._block.stream != 0 or not self._settled

    @property
    def finished(self) -> bool:
        """Whether the connection was told to end, and has."""
        return self.closed or (self._final and not self.streams)

    def feed(self, data: frames.Payload) -> None:
        """Read ``data``."""
        try:
            self._reader.feed(data)
        except Http2Error as error:
            self.fail(error)

    def fail(self, error: Http2Error) -> None:
        """End the connection, and say why."""
        if self.closed:
            return
        self.sender.out.append(frames.goaway(self._last, error.code, str(error)))
        self.leave()

    def leave(self) -> None:
        """The client is gone."""
        self.closed = True
        self._reader.stop()
        streams = list(self.streams.values())
        self.streams.clear()
        for stream in streams:
            self._drop(stream)

    def send(self, stream: Stream, head: bytes, body: bytes = b"", trailers: bytes = b"") -> None:
        """Send a part of an answer, which ends with the trailers."""
        if not stream.closed:
            self.sender.send(stream, head, body, trailers)

    def reset(self, stream: Stream, code: Code) -> None:
        """End a stream before its answer is complete."""
        if stream.closed:
            return
        self.sender.out.append(frames.rst_stream(stream.number, code))
        self._forget(stream, ours=True)
        self._drop(stream)

    def drain(self) -> None:
        """Have the client send no new request; those that are on their way are still answered (section 6.8)."""
        if self.closed or self.draining:
            return
        self.draining = True
        self.sender.out.append(frames.goaway(LARGEST, Code.NO_ERROR) + frames.frame(frames.PING, 0, 0, _PROBE))

    def finish(self) -> None:
        """Look at no new request."""
        if not self.closed and not self._final:
            self.draining = self._final = True
            self.sender.out.append(frames.goaway(self._last, Code.NO_ERROR))

    def _take(self, kind: int, flags: int, number: int, payload: frames.Payload) -> None:
        if self._block.stream and (kind != frames.CONTINUATION or number != self._block.stream):
            raise Http2Error(Code.PROTOCOL_ERROR, "a header block was not complete")
        if not self._settled and (kind != frames.SETTINGS or flags & frames.ACK):
            raise Http2Error(Code.PROTOCOL_ERROR, "SETTINGS come first")
        if kind == frames.DATA:
            self._take_data(flags, number, payload)
        elif kind == frames.HEADERS:
            self._take_headers(flags, number, payload)
        elif kind == frames.CONTINUATION:
            self._take_continuation(flags, number, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._take_window_update(number, payload)
        elif kind == frames.RST_STREAM:
            self._take_reset(number, payload)
        else:
            self._take_control(kind, flags, number, payload)
        if not self._block.stream:
            self.progress += 1

    def _take_data(self, flags: int, number: int, payload: frames.Payload) -> None:
        if number == 0:
            raise Http2Error(Code.PROTOCOL_ERROR, "DATA is of a stream")
        length = len(payload)
        data = frames.content(payload, flags)
        if not self._receives.take(length):
            raise Http2Error(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        if increment := self._receives.refill():
            self.sender.out.append(frames.window_update(0, increment))
        ended = bool(flags & frames.END_STREAM)
        stream = self.streams.get(number)
        if stream is None or stream.ended:
            self._take_late(number, stream)
            return
        if not data and not ended:
            self._idle_frames.spend(self._now())
        if not stream.receives.take(length):
            self._broken(stream, Code.FLOW_CONTROL_ERROR)
        elif not stream.announces(len(data), ended=ended):
            self._broken(stream, Code.PROTOCOL_ERROR)
        else:
            self._pass_on(stream, data, ended=ended)

    def _pass_on(self, stream: Stream, data: frames.Payload, *, ended: bool) -> None:
        if data and stream.incoming is not None:
            stream.incoming.data(data)
        if stream.closed:
            return
        if ended:
            self._end(stream)
        elif increment := stream.receives.refill():
            self.sender.out.append(frames.window_update(stream.number, increment))

    def _take_late(self, number: int, stream: Stream | None) -> None:
        """DATA of a stream whose client had said that it sends no more, or that has ended."""
        if stream is not None:
            self._broken(stream, Code.STREAM_CLOSED)
        elif number > self._last or not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "DATA of a stream that was not opened")
        elif not self._ended.ours(number):
            self._resets.spend(self._now())
            self.sender.out.append(frames.rst_stream(number, Code.STREAM_CLOSED))

    def _take_headers(self, flags: int, number: int, payload: frames.Payload) -> None:
        if not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        block = frames.block(payload, flags)
        if flags & frames.END_HEADERS:
            self._take_block(number, block, ended=bool(flags & frames.END_STREAM))
        else:
            self._block.start(number, block, ends=bool(flags & frames.END_STREAM))

    def _take_continuation(self, flags: int, number: int, payload: frames.Payload) -> None:
        if not self._block.stream:
            raise Http2Error(Code.PROTOCOL_ERROR, "CONTINUATION continues nothing")
        self._block.add(bytes(payload))
        if flags & frames.END_HEADERS:
            self._take_block(number, self._block.whole(), ended=self._block.ends)

    def _take_block(self, number: int, block: bytes, *, ended: bool) -> None:
        fields = self._fields.read(block)
        stream = self.streams.get(number)
        if stream is not None:
            self._take_trailers(stream, fields, ended=ended)
            return
        if number <= self._last:
            self._ended.check(number)
            return
        self._last = number
        if self._final:
            self._ended.add(number, ours=True)
        elif not self._check.well_formed(fields, ended=ended):
            self._refuse(number, Code.PROTOCOL_ERROR)
        elif len(self.streams) >= self._limits.streams:
            self._refuse(number, Code.REFUSED_STREAM)
        else:
            self._open(number, fields, ended=ended)

    def _open(self, number: int, fields: Fields, *, ended: bool) -> None:
        stream = Stream(number, self.sender.initial, self._limits.stream_window)
        stream.announced = self._check.announced
        stream.ended = ended
        self.streams[number] = stream
        self._idle_frames.restore()
        incoming = self._begin(stream, fields)
        if not stream.closed:
            stream.incoming = incoming
            if ended:
                incoming.end()

    def _take_trailers(self, stream: Stream, fields: Fields, *, ended: bool) -> None:
        if stream.ended:
            self._broken(stream, Code.STREAM_CLOSED)
        elif not ended or stream.announced or http2_fields.malformed_trailers(fields):
            self._broken(stream, Code.PROTOCOL_ERROR)
        else:
            self._end(stream)

    def _take_window_update(self, number: int, payload: frames.Payload) -> None:
        increment = frames.number(payload) & LARGEST
        if number == 0:
            self.sender.widen(increment)
        elif (stream := self._known(number)) is None:
            return
        elif increment == 0:
            self._broken(stream, Code.PROTOCOL_ERROR)
        elif not self.sender.widen_stream(stream, increment):
            self._broken(stream, Code.FLOW_CONTROL_ERROR)

    def _take_reset(self, number: int, payload: frames.Payload) -> None:
        frames.number(payload)
        stream = self._known(number)
        self._resets.spend(self._now())
        if stream is not None:
            self._forget(stream, ours=False)
            self._drop(stream)

    def _take_control(self, kind: int, flags: int, number: int, payload: frames.Payload) -> None:
        self._idle_frames.spend(self._now())
        frames.check_control(kind, flags, number, payload)
        if kind == frames.SETTINGS and not flags & frames.ACK:
            self._take_settings(payload)
        elif kind == frames.PING and not flags & frames.ACK:
            self.sender.out.append(frames.frame(frames.PING, frames.ACK, 0, bytes(payload)))
        elif kind == frames.PING and self.draining and payload == _PROBE:
            self.finish()

    def _take_settings(self, payload: frames.Payload) -> None:
        self.sender.settle(frames.read_settings(payload), self.streams.values())
        self._settled = True
        self.sender.out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _known(self, number: int) -> Stream | None:
        """The stream that a frame is of; None where it has ended. Raises Http2Error where it never began."""
        if number == 0 or number > self._last or not number & 1:
            raise Http2Error(Code.PROTOCOL_ERROR, "the frame is of no stream that was opened")
        return self.streams.get(number)

    def _end(self, stream: Stream) -> None:
        stream.ended = True
        if stream.incoming is not None:
            stream.incoming.end()

    def _answered(self, stream: Stream) -> None:
        """The answer is complete; a request that is not needs not be sent to its end (section 8.1)."""
        if not stream.ended:
            self.sender.out.append(frames.rst_stream(stream.number, Code.NO_ERROR))
        stream.closed = True
        stream.incoming = None  # which knows the stream: together they would stay until the collector comes
        self._forget(stream, ours=not stream.ended)

    def _broken(self, stream: Stream, code: Code) -> None:
        """The client broke a rule of this stream."""
        self._resets.spend(self._now())
        self.reset(stream, code)

    def _refuse(self, number: int, code: Code) -> None:
        self._resets.spend(self._now())
        self._ended.add(number, ours=True)
        self.sender.out.append(frames.rst_stream(number, code))

    def _forget(self, stream: Stream, *, ours: bool) -> None:
        self.streams.pop(stream.number, None)
        self._ended.add(stream.number, ours=ours)

    def _drop(self, stream: Stream) -> None:
        stream.closed = True
        self.sender.drop(stream)
        if stream.incoming is not None:
            incoming, stream.incoming = stream.incoming, None
            incoming.leave()
