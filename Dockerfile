# syntax=docker/dockerfile:1
# The tfseg command in a container.
#
#   docker build -t tfseg .                                  CPU
#   docker build -t tfseg:gpu --build-arg VARIANT=gpu .      NVIDIA GPU, CUDA from the wheels
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" tfseg train --model unet
#   docker run --rm --gpus all -v "$PWD:/data" --user "$(id -u):$(id -g)" tfseg:gpu train --model unet

ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG VARIANT=cpu
WORKDIR /source
COPY . .
RUN case "$VARIANT" in \
      cpu) extras=serving ;; \
      gpu) extras=gpu,serving,tensorrt ;; \
      *) echo "VARIANT must be cpu or gpu; got $VARIANT" >&2; exit 2 ;; \
    esac \
    && pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
    # Without pip: the environment holds the wheel, its dependencies and nothing else.
    && python -m venv --without-pip /opt/tfseg \
    && pip --python /opt/tfseg/bin/python install --no-cache-dir \
         "$(ls /wheels/tfseg-*.whl)[$extras]"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 10001 tfseg
COPY --from=build /opt/tfseg /opt/tfseg
ENV PATH=/opt/tfseg/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # Read-only homes and foreign user ids: caches go where everyone may write.
    HOME=/tmp \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER tfseg
WORKDIR /data
# The REST and gRPC ports of `tfseg serve --host 0.0.0.0`.
EXPOSE 8501 8500
ENTRYPOINT ["tfseg"]
CMD ["--help"]
