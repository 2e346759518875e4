"""The machine: its processes, its devices, and how a process ends."""
