"""A listener in the place of a server, which answers as a test wants."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from servers.ports import HOST


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[int]:
    """Listen, call ``answer`` with every connection, and close it; yield the port."""
    with socket.create_server((HOST, 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
