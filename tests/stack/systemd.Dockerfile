# The image's programs on a host of their own, with systemd, PostgreSQL and Redis, for test_systemd.py.
ARG IMAGE
FROM ${IMAGE}
USER root
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd dbus postgresql redis-server procps \
 && rm -rf /var/lib/apt/lists/* \
 && mv /usr/local/bin /programs && mkdir /usr/local/bin
COPY . /source/
CMD ["/lib/systemd/systemd"]
