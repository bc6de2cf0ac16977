"""Async run-functions: many evaluations that wait for a server, in one thread or in a few.

A little server on this machine takes 50 ms for each request and can serve many at a time. An async run-function
waits for it without blocking: on `serial` all 20 wait at the same time in the calling thread, on `thread` one in each
of 4 threads.

    python examples/async_io.py
"""

import asyncio
import threading
import time

from evalpool import Evaluator, RunningJob

DELAY = 0.05


class Server(threading.Thread):
    """Squares numbers, slowly; counts how many requests it serves at a time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.now = self.most = 0
        self.ready = threading.Event()

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.stopping = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.ready.set()
        async with server:
            await self.stopping.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = float(await reader.readline())
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(DELAY)
        self.now -= 1
        writer.write(f"{number**2}\n".encode())
        await writer.drain()
        writer.close()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.stopping.set)
        self.join()


async def ask_server(job: RunningJob, port: int) -> float:
    """The run-function."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{job['x']}\n".encode())
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return float(answer)


def main() -> None:
    for method, workers in (("serial", 20), ("thread", 4)):
        server = Server()
        server.start()
        server.ready.wait()
        settings = {"num_workers": workers, "run_function_kwargs": {"port": server.port}}
        with Evaluator.create(ask_server, method=method, method_kwargs=settings) as evaluator:
            start = time.perf_counter()
            evaluator.submit([{"x": x} for x in range(20)])
            jobs = evaluator.gather("ALL")
            seconds = time.perf_counter() - start
        server.stop()
        assert all(job.objective == job.args["x"] ** 2 for job in jobs)
        print(f"{method}: 20 requests of {DELAY} s in {seconds:.2f} s, at most {server.most} at a time")


if __name__ == "__main__":
    main()
