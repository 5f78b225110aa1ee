"""The open port that the server is given."""

import socket

from service.cli.serve import _listening


def test_an_answers_body_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    with (
        _listening("127.0.0.1", 0) as port,
        socket.create_connection(port.getsockname()),
        port.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
