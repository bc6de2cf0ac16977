"""Connections between programs: listening, connecting, and how both sides prove that they know the key."""
