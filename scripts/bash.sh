#!/bin/bash
# The shell of make's recipes.
# Usage: bash.sh [ARGUMENT…], as of bash
# shellcheck source=scripts/environment.sh
. "${BASH_SOURCE[0]%/*}/environment.sh"
exec /bin/bash "$@"
