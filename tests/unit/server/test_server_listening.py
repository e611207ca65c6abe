import socket

from tests.unit.server.wire import Echo

from modelyard_server.http_endpoint import Endpoint
from modelyard_server.http_messages import Limits
from modelyard_server.http_server import listening


async def test_many_clients_can_come_while_the_server_is_busy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with listening(Endpoint(Echo(), Limits()), listener):
            # Nobody is accepted meanwhile, and a client that the kernel cannot keep tries again after a second.
            clients = [socket.create_connection(listener.getsockname(), timeout=0.9) for _ in range(300)]
    for client in clients:
        client.close()
