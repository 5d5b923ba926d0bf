# The pipeline as an image: the `jobtrail` command, which also runs both consumers. Its arguments choose what a container does:
#
#     docker build --tag jobtrail:0.2.0.dev0 .
#     docker run --rm jobtrail:0.2.0.dev0 --help
#
# .dockerignore decides what is copied. There is no HEALTHCHECK here, because it depends on the command: see docker-compose.yml.

ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/jobtrail
ENV PATH=/opt/jobtrail/bin:$PATH
WORKDIR /build
# Third-party packages: only wheels, each checked by its hash. A separate layer, rebuilt only when the lists change.
COPY requirements/ requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/run.txt
# Our packages, built by the pinned build backend, which is not needed afterwards.
COPY . .
RUN pip install --no-deps --no-build-isolation . ./workers
RUN pip uninstall --yes setuptools

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="jobtrail" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 jobtrail \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin jobtrail
COPY --from=build /opt/jobtrail /opt/jobtrail
ENV PATH=/opt/jobtrail/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes' runAsNonRoot can check it.
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464 9465
ENTRYPOINT ["jobtrail"]
