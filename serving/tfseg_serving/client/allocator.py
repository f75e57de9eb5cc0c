"""Memory that is freed after one message and needed for the next."""

from __future__ import annotations

import ctypes
import platform

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20  # glibc takes no larger one


def keep_freed_memory(most: int = 256 << 20) -> bool:
    """Let the C library keep freed memory instead of returning it to the system each time.

    glibc may hand the buffers of a message back as soon as they are freed, and fault them in
    again, page by page, for the next: that can double the time of a call with tensors of many
    megabytes. It is a setting of the whole process, so it is a program's to make, not a library's;
    ``tfseg query`` makes it.

    Args:
        most: bytes that are kept.

    Returns:
        Whether it was made: only glibc has it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    kept = mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) == 1
    return kept and mallopt(_M_TRIM_THRESHOLD, most) == 1
