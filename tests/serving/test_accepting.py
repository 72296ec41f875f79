"""Processes that share a listening socket get equal parts of its connections."""

import asyncio
import errno
import socket

from serving.service import accepting
from serving.service.accepting import Acceptor, OpenConnections


class Process:
    """What one process of a service has: its open connections, and an acceptor."""

    def __init__(self, listener, folder, number):
        self.open = set()
        self.counts = OpenConnections(folder, number)
        self.acceptor = Acceptor(listener.dup(), self._protocol, self.open, self.counts, None)

    def _protocol(self):
        opened = self.open

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                opened.add(transport)

            def connection_lost(self, exc):
                opened.discard(self)

        return Protocol()


def run(scenario, folder):
    async def go():
        with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
            processes = [Process(listener, folder, number) for number in (1, 2, 3)]
            clients = []

            async def connect(count):
                for _ in range(count):
                    clients.append(await asyncio.open_connection(*listener.getsockname()))

            async def settled(count):
                async with asyncio.timeout(60):
                    while sum(len(one.open) for one in processes) < count:
                        await asyncio.sleep(0)

            try:
                await scenario(processes, connect, settled)
            finally:
                for one in processes:
                    one.acceptor.close()
                    await one.acceptor.wait_closed()
                    for transport in one.open:
                        transport.close()
                for _, writer in clients:
                    writer.close()

    asyncio.run(go())


def _spread(processes):
    counts = [len(one.open) for one in processes]
    return max(counts) - min(counts)


def test_connections_one_after_the_other_and_all_at_once_are_shared_equally(tmp_path):
    async def scenario(processes, connect, settled):
        for number in range(1, 7):
            await connect(1)
            await settled(number)
        assert _spread(processes) <= 2
        await asyncio.gather(*(connect(1) for _ in range(60)))
        await settled(66)
        assert _spread(processes) <= 3, "one that has waited for its turn may take a connection that has just come"

    run(scenario, tmp_path)


def test_process_that_ended_or_stopped_accepting_is_not_waited_for(tmp_path):
    async def scenario(processes, connect, settled):
        processes[2].acceptor.close()
        await connect(8)
        await settled(8)
        assert not processes[2].open and _spread(processes[:2]) <= 2
        first = len(processes[0].open)
        processes[1].acceptor.close()
        await connect(4)
        await settled(12)
        assert [len(one.open) for one in processes] == [first + 4, 8 - first, 0]

    run(scenario, tmp_path)


def test_stuck_process_with_few_connections_delays_the_others_by_one_turn_only(tmp_path):
    async def scenario(processes, connect, settled):
        for one in processes[1:]:
            one.acceptor._pause()  # their event loops are busy; their counts stay
        await connect(3)
        await settled(3)
        assert [len(one.open) for one in processes] == [3, 0, 0]

    run(scenario, tmp_path)


def test_too_many_open_files_are_a_pause_not_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(accepting, "FULL_S", 0.0)

    class Full:
        """A listener that fails twice."""

        failures = 2

        def __init__(self, listener):
            self._listener = listener

        def __getattr__(self, name):
            return getattr(self._listener, name)

        def accept(self):
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listener.accept()

    async def scenario(processes, connect, settled):
        for one in processes[1:]:
            one.acceptor.close()
        processes[0].acceptor._listener = full = Full(processes[0].acceptor._listener)
        await connect(2)
        await settled(2)
        assert full.failures == 0 and len(processes[0].open) == 2

    run(scenario, tmp_path)


def test_counts_survive_in_a_file_that_all_processes_map(tmp_path):
    first, second = OpenConnections(tmp_path, 1), OpenConnections(tmp_path, 2)
    assert first.fewest() == 0
    first.set(7)
    second.set(9)
    assert (first.fewest(), second.fewest()) == (7, 7)
    first.set(-1)
    assert second.fewest() == 9
    for folder in (None, tmp_path / "connections" / "no folder"):
        alone = OpenConnections(folder, 1)
        alone.set(3)
        assert alone.fewest() == 3
