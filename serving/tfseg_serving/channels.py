"""What both ends of a gRPC connection ask of it."""

from __future__ import annotations

# Volumes are many megabytes: gRPC's 64 KiB a window and 16 KiB a frame would slow them down.
WIDE = {"grpc.http2.lookahead_bytes": 16 << 20, "grpc.http2.max_frame_size": 1 << 20}
