#!/usr/bin/env bash
# Installs the S3 server that the tests run against, into tests/.bin. Quick when done.
set -euo pipefail
cd "$(dirname "$0")/.."

version=v1.8.0

bin=$PWD/tests/.bin
[ "$(cat "$bin/.versitygw" 2>/dev/null)" = "$version" ] && [ -x "$bin/versitygw" ] && exit 0

go=$(scripts/go.sh)
echo "building the tests' S3 server, versitygw $version (some minutes, once)"
GOBIN=$bin GOTOOLCHAIN=local GOFLAGS= "$go" install "github.com/versity/versitygw/cmd/versitygw@$version"
echo "$version" >"$bin/.versitygw"
