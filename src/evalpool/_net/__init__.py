"""Connections between programs: who listens for them, and how both sides prove that they know the key."""
