"""Training: devices, schedule, checkpoints, the loop, and the run folder around it."""
