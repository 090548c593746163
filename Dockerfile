# chunkflow in an image, for Kubernetes, docker and apptainer. Whoever runs it needs to be no one in particular: the
# home is anybody's to write (under apptainer it is the user's own), and nothing else but /tmp is written.
# Its Python, which must be that of whoever submits jobs, as in --build-arg PYTHON=3.11
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# What KubeRay's probes call, and what Ray asks for processes with.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends wget procps \
 && rm -rf /var/lib/apt/lists/*

# Its extras, as in --build-arg EXTRAS=[cnn,formats]
ARG EXTRAS=
COPY pyproject.toml constraints.txt README.md LICENSE /tmp/chunkflow/
COPY chunkflow /tmp/chunkflow/chunkflow
COPY tasks /tmp/chunkflow/tasks
COPY cluster /tmp/chunkflow/cluster
COPY cli /tmp/chunkflow/cli
RUN pip install --no-cache-dir --constraint /tmp/chunkflow/constraints.txt "/tmp/chunkflow${EXTRAS}" \
 && rm -rf /tmp/chunkflow

RUN useradd --uid 1000 --create-home chunkflow && chmod 1777 /home/chunkflow
ENV HOME=/home/chunkflow PYTHONUNBUFFERED=1
WORKDIR /home/chunkflow
USER chunkflow
CMD ["chunkflow", "--help"]
