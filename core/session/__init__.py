"""The session folder: the only channel between capturing and everything else."""

from core.session.reader import Capture, Pieces, Sequences, Session, open_session

__all__ = ["Capture", "Pieces", "Sequences", "Session", "open_session"]
