"""What evaluators and storages on MPI share: our communicators, and the polling for messages."""
