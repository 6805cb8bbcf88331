#!/bin/sh
# Writes the file of users, with sums in place of passwords, and becomes the server, whose configuration names that file:
# `aclfile /data/users.acl`. VALKEY_USER has the rights VALKEY_RIGHTS and the password in VALKEY_PASSWORD_FILE. One of
# VALKEY_PASSWORD_EARLIER_FILE, one a line, that was good when the server stopped still is: who does not know the new one
# yet is not locked out by a restart. The user `probe` needs no password and may only ask whether the server answers.
set -eu

users="${VALKEY_USERS_FILE:-/data/users.acl}"

sum() {
    printf '%s' "$1" | sha256sum | cut -d ' ' -f 1
}

write_users() {
    password=$(head -n 1 "$VALKEY_PASSWORD_FILE")
    if [ -z "$password" ]; then
        echo "docker-entrypoint.sh: $VALKEY_PASSWORD_FILE is empty" >&2
        exit 1
    fi
    sums="#$(sum "$password")"
    if [ -n "${VALKEY_PASSWORD_EARLIER_FILE:-}" ] && [ -f "$users" ]; then
        while IFS= read -r earlier || [ -n "$earlier" ]; do
            if [ -n "$earlier" ] && grep -qF "#$(sum "$earlier")" "$users"; then
                sums="$sums #$(sum "$earlier")"
            fi
        done < "$VALKEY_PASSWORD_EARLIER_FILE"
    fi
    (
        umask 077
        # What is read from the file of appended commands is done as this user, and lost where it has not all rights.
        # Nobody knows its password.
        printf 'user default on #%s ~* &* +@all\n' "$(head -c 32 /dev/urandom | sha256sum | cut -d ' ' -f 1)" > "$users.new"
        printf 'user probe on nopass resetkeys resetchannels -@all +ping\n' >> "$users.new"
        printf 'user %s on %s resetkeys resetchannels -@all %s\n' "$VALKEY_USER" "$sums" "$VALKEY_RIGHTS" >> "$users.new"
    )
    mv "$users.new" "$users"
}

if [ "${1:-}" = valkey-server ] && [ -n "${VALKEY_PASSWORD_FILE:-}" ]; then
    write_users
fi
exec "$@"
