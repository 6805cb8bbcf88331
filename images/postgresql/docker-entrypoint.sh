#!/bin/sh
# Makes the database cluster at the first start, then becomes the server. It understands what Docker's image does:
# POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD, POSTGRES_USER (postgres), POSTGRES_DB (the user's name), PGDATA.
# The password becomes the user's at each start, so that a new one only takes a restart.
set -eu

user="${POSTGRES_USER:-postgres}"
database="${POSTGRES_DB:-$user}"
sockets=/run/postgresql
[ -w "$sockets" ] || sockets=/tmp

password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        # As initdb reads it.
        head -n 1 "$POSTGRES_PASSWORD_FILE"
    else
        printf '%s\n' "${POSTGRES_PASSWORD:-}"
    fi
}

initialize() {
    new="$PGDATA.new"
    rm -rf "$new"
    mkdir -p "$(dirname "$new")"
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        passwords="$POSTGRES_PASSWORD_FILE"
    elif [ -n "${POSTGRES_PASSWORD:-}" ]; then
        passwords="$new.password"
        (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" > "$passwords")
    else
        echo "docker-entrypoint.sh: the database is empty: set POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD" >&2
        exit 1
    fi
    initdb --pgdata="$new" --username="$user" --pwfile="$passwords" --auth=scram-sha-256 \
        --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8
    rm -f "$new.password"
    echo "host all all all scram-sha-256" >> "$new/pg_hba.conf"
    printf "listen_addresses = '*'\njit = off\n" >> "$new/postgresql.conf"
    if [ "$database" != postgres ]; then
        printf 'CREATE DATABASE "%s" OWNER "%s";\n' "$database" "$user" |
            postgres --single -j -D "$new" postgres > /dev/null
        # It ends with 0 though a statement failed; it does not where the database is not there.
        if ! postgres --single -D "$new" "$database" < /dev/null > /dev/null; then
            echo "docker-entrypoint.sh: the database $database could not be made, see above" >&2
            exit 1
        fi
    fi
    # Only a finished cluster gets the name that the next start looks for.
    mv "$new" "$PGDATA"
}

# A server alone with its data asks for no password. A standby has its passwords from the server that it follows.
set_password() {
    if [ -e "$PGDATA/standby.signal" ] || [ -z "$(password)" ]; then
        return
    fi
    quoted=$(password | sed "s/'/''/g")
    # Two line breaks end a statement of -j.
    printf "SET standard_conforming_strings = on;\n\nALTER ROLE \"%s\" PASSWORD '%s';\n\n" "$user" "$quoted" |
        postgres --single -j -D "$PGDATA" -c log_statement=none -c log_min_error_statement=panic postgres > /dev/null
}

if [ "${1:-}" = postgres ]; then
    if [ -s "$PGDATA/PG_VERSION" ]; then
        set_password
    else
        initialize
    fi
    shift
    set -- postgres -c "unix_socket_directories=$sockets" "$@"
fi
unset POSTGRES_PASSWORD
exec "$@"
