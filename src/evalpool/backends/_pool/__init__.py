"""What every pool of workers shares: prefetching, frames, sockets, what runs in a worker process, and helpers of it."""
