"""A real Redis, from the system's package."""

import shutil
import signal
import subprocess

from redis import Redis
from redis.exceptions import ConnectionError as Unavailable

from tests.serving.running import spare_port
from tests.waiting import until_passes


class RedisServer:
    """A Redis server on its own port, which can be stopped and started again."""

    def __init__(self, folder):
        self.port = spare_port()
        self.folder, self.url = folder, f"redis://127.0.0.1:{self.port}/0"
        self.start()

    def start(self):
        binary = shutil.which("redis-server")
        assert binary, "redis-server is missing: apt-get install redis-server (make test does)"
        self.process = subprocess.Popen(
            [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
        )
        until_passes(lambda: Redis(port=self.port).ping(), retry=Unavailable)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def fill(self):
        Redis(port=self.port).config_set("maxmemory", 1)

    def empty(self):
        Redis(port=self.port).config_set("maxmemory", 0)
