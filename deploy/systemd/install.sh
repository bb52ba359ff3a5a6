#!/bin/sh
# Installs the programs of a build and these units, and makes the configuration where there is none. As root:
#
#   deploy/systemd/install.sh build/bin
#
# With DESTDIR set it writes below that directory only, and leaves users and systemd alone.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
programs=${1:?where the programs are, such as build/bin}
root=${DESTDIR:-}

install -d "$root/usr/local/bin" "$root/etc/systemd/system"
install -d -m 700 "$root/etc/corbel"
daemons=$(sed -n 's/^Wants=corbel@\(.*\)\.service$/\1/p' "$here/corbel.target")
for program in corbel corbel-zygote $daemons; do
  install -m 755 "$programs/$program" "$root/usr/local/bin/$program"
done
cp -R "$here"/corbel.target "$here"/corbel@* "$root/etc/systemd/system/"

# Every daemon has an admin port of its own, from 9600 on, in the order of the target.
umask 077
port=9600
for daemon in $daemons; do
  file=$root/etc/corbel/$daemon.env
  [ -e "$file" ] || echo "CORBEL_ADMIN_LISTEN=127.0.0.1:$port" >"$file"
  port=$((port + 1))
done
if [ ! -e "$root/etc/corbel/corbel.env" ]; then
  "$here/../new-env.sh" | while IFS= read -r line; do
    case $line in
    CORBEL_API_KEY=*) echo "CORBEL_ACCOUNTD_BOOTSTRAP_KEY=${line#*=}" >>"$root/etc/corbel/accountd.env" ;;
    CORBEL_ACCOUNTD_*=* | CORBEL_WEBHOOKD_*=* | CORBEL_CACHED_*=*)
      daemon=$(echo "${line%%=*}" | sed 's/^CORBEL_\([A-Z]*\)_.*/\1/' | tr A-Z a-z)
      echo "$line" >>"$root/etc/corbel/$daemon.env"
      ;;
    esac
  done
  cp "$here/corbel.env" "$root/etc/corbel/corbel.env"
fi
[ -n "$root" ] || {
  id corbel >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin corbel
  systemctl daemon-reload
}
