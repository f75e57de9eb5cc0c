"""Which devices a run uses, and how they are joined."""

from __future__ import annotations

from functools import cache
from typing import Any

import tensorflow as tf

from tfseg.errors import ConfigError
from tfseg.workers import read_workers


def gpu_count() -> int:
    """Return the number of GPUs that TensorFlow sees."""
    return len(tf.config.list_physical_devices("GPU"))


def open_strategy(replicas: int) -> Any:
    """Return a ``MirroredStrategy`` over the chosen devices, of one machine or of several.

    Args:
        replicas: 0 takes every GPU, or the CPU where there is none. N > 0 takes N logical CPU
            devices, whatever GPUs there are: the same arithmetic as N GPUs, to try it.

    Raises:
        ConfigError: TensorFlow has started already with another number of CPU devices, or logical
            devices are asked of several machines.
    """
    if read_workers().count > 1:
        if replicas:
            raise ConfigError(
                f"replicas must be 0 where several processes train together; got {replicas}. Each "
                "takes all GPUs that it sees, or its CPU."
            )
        return _joined()
    if replicas == 0:
        gpus = [f"GPU:{index}" for index in range(gpu_count())]
        return tf.distribute.MirroredStrategy(gpus or ["CPU:0"])
    cpu = tf.config.list_physical_devices("CPU")[0]
    wanted = [tf.config.LogicalDeviceConfiguration() for _ in range(replicas)]
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) != replicas:
        try:
            tf.config.set_logical_device_configuration(cpu, wanted)
        except RuntimeError as error:
            raise ConfigError(
                f"replicas={replicas} needs {replicas} logical CPU devices before TensorFlow "
                "starts; it has started already. Use a fresh process."
            ) from error
    return tf.distribute.MirroredStrategy([f"CPU:{index}" for index in range(replicas)])


@cache  # a process can join the others once
def _joined() -> Any:
    resolver = None  # of TF_CONFIG
    if read_workers().by == "SLURM":
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(auto_set_gpu=False)
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Seed weight initialisation and dropout; ``deterministic`` makes every kernel so too."""
    import keras

    keras.utils.set_random_seed(seed)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
