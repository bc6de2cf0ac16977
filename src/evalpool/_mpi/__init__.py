"""What evaluators and storages on MPI share: our communicators, and how one waits for messages."""
