"""Where a run goes: TPU VMs, GKE through xpk, SkyPilot, Slurm.

Each launcher makes a plan - files and commands - by a pure function; `--dry-run` prints that plan,
and without the flag the very same plan is carried out.
"""
