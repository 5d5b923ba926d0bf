# The pipeline as an image: both consumers and the `jobtrail` command, which says what a container does:
#
#     docker build --tag jobtrail:0.2.0.dev0 .
#     docker run --rm jobtrail:0.2.0.dev0 --help
#
# What is copied is what .dockerignore lets through. Health is the business of whoever runs it: docker-compose.yml.

ARG PYTHON=3.13-slim-trixie

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/jobtrail
ENV PATH=/opt/jobtrail/bin:$PATH
WORKDIR /build
# Other people's packages: wheels alone, each by its hash. A layer of its own, made anew only when the lists change.
COPY requirements/ requirements/
RUN pip install --require-hashes --only-binary :all: -r requirements/build.txt -r requirements/run.txt
# Ours, by the pinned build backend, which is not needed afterwards.
COPY . .
RUN pip install --no-deps --no-build-isolation . ./workers
RUN pip uninstall --yes setuptools

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="jobtrail" org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 jobtrail \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin jobtrail
COPY --from=build /opt/jobtrail /opt/jobtrail
ENV PATH=/opt/jobtrail/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes' runAsNonRoot can tell.
USER 10001:10001
WORKDIR /tmp
EXPOSE 9464 9465
ENTRYPOINT ["jobtrail"]
