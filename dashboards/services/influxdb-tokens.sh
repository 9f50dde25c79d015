#!/bin/sh
# Once InfluxDB is up: a token that may only write, for the collector, one that may only read, for Grafana, and the
# name by which InfluxQL knows the bucket. Again, it changes nothing: a token is made where its file is missing.
# InfluxDB keeps tokens as hashes only (2.9), so one whose file is lost is deleted and made anew.
set -eu
umask 077

INFLUX_TOKEN=$(cat "${ADMIN_TOKEN_FILE:-/run/secrets/influxdb_admin_token}")
export INFLUX_TOKEN
tokens=${TOKENS:-/tokens}

bucket_id=$(influx bucket list --name "$BUCKET" --hide-headers | cut -f 1)
test -n "$bucket_id"

if [ -z "$(influx v1 dbrp list --db "$BUCKET" --hide-headers)" ]; then
    influx v1 dbrp create --db "$BUCKET" --rp autogen --bucket-id "$bucket_id" --default >/dev/null
fi

make_token() { # of whom, right
    file=$tokens/$1/token
    if [ -s "$file" ]; then
        return
    fi
    description="fasciwatch $1"
    influx auth list --hide-headers | while IFS="$(printf '\t')" read -r id known rest; do
        if [ "$known" = "$description" ]; then
            influx auth delete --id "$id" >/dev/null
        fi
    done
    made=$(influx auth create --description "$description" "$2" "$bucket_id" --json)
    token=$(printf '%s' "$made" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')
    test -n "$token"
    printf '%s\n' "$token" >"$file.new"
    mv "$file.new" "$file"
}

make_token collector --write-bucket
make_token grafana --read-bucket
