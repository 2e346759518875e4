"""The machine: its processes and devices, and how a process ends."""
