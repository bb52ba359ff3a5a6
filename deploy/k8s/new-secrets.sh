#!/bin/sh
# Makes the secrets of the overlay dev, in overlays/dev/secrets or the directory that is named. Those that are there stay: what
# was kept under lost ones cannot be read any more.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$here/overlays/dev/secrets}
if [ -e "$to/stores.env" ]; then
  echo "$to has secrets already" >&2
  exit 1
fi
mkdir -p "$to"
eval "$("$here/../new-env.sh" | sed -n 's/^\([A-Z_]*\)=\(..*\)/\1="\2"/p')"

echo "CORBEL_ACCOUNTD_BOOTSTRAP_KEY=$CORBEL_API_KEY
CORBEL_ACCOUNTD_PEPPERS=$CORBEL_ACCOUNTD_PEPPERS" >"$to/accountd.env"
echo "CORBEL_WEBHOOKD_SECRETS=$CORBEL_WEBHOOKD_SECRETS" >"$to/webhookd.env"
echo "CORBEL_CACHED_SECRETS=$CORBEL_CACHED_SECRETS" >"$to/cached.env"
echo "POSTGRES_PASSWORD=$POSTGRES_PASSWORD" >"$to/postgres.env"
echo "REDISCLI_AUTH=$REDIS_PASSWORD" >"$to/redis.env"
echo "CORBEL_STORE_URL=postgresql://corbel:$POSTGRES_PASSWORD@postgres/corbel
CORBEL_REDIS_URL=redis://:$REDIS_PASSWORD@redis:6379/0" >"$to/stores.env"
