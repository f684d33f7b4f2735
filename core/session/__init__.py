"""The session folder: the only channel between capturing and everything else."""
