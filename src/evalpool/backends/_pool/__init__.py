"""What every pool of workers shares: prefetching, frames, sockets, the code of a worker process, and helpers."""
