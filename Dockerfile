# Two stages: wheels are built and installed in the first, the second has no compiler and no root.
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements/base.txt /tmp/base.txt
RUN /opt/venv/bin/pip install --require-hashes --no-deps -r /tmp/base.txt

FROM python:3.12-slim
# git: agents work in repositories.
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 stratavore \
    && install -d -o stratavore -g stratavore /var/lib/stratavore /var/lib/transcripts /srv/workspaces
COPY --from=build /opt/venv /opt/venv
COPY --chown=root:root . /opt/stratavore
WORKDIR /opt/stratavore
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 STRATAVORE_ENV_FILE=/dev/null \
    STRATAVORE_STATE_DIR=/var/lib/stratavore STRATAVORE_WORKSPACE_ROOTS=/srv/workspaces
USER stratavore
EXPOSE 8000
CMD ["python", "-m", "daphne", "-b", "0.0.0.0", "-p", "8000", "stratavore_site.asgi:application"]
