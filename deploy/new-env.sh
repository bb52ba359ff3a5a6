#!/bin/sh
# Prints .env.example with every secret that it leaves empty filled in: deploy/new-env.sh >.env
# Each run makes others: what was kept under lost ones cannot be read any more, so keep the file.
set -eu
umask 077

secret() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }

random_text() { LC_ALL=C tr -dc 0-9A-Za-z </dev/urandom | head -c "$1"; }

# An API key ends with six digits of base 62 that are the CRC-32 of all before them; gzip knows the CRC-32.
api_key() {
  text=cb_live_$(random_text 12)_$(random_text 27)
  crc=$(printf %s "$text" | gzip -c | tail -c 8 | od -An -N4 -tu4 | tr -d ' ')
  digits=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz
  checksum=
  for _ in 1 2 3 4 5 6; do
    checksum=$(printf %s "$digits" | cut -c $((crc % 62 + 1)))$checksum
    crc=$((crc / 62))
  done
  printf %s "$text$checksum"
}

while IFS= read -r line; do
  case $line in
  CORBEL_API_KEY=) echo "$line$(api_key)" ;;
  *_PEPPERS= | *_SECRETS=) echo "${line}1:$(secret)" ;;
  *_PASSWORD=) echo "$line$(secret)" ;;
  *) printf '%s\n' "$line" ;;
  esac
done <"$(dirname "$0")/../.env.example"
