#!/usr/bin/env bash
# Builds the tests' publisher on Go's pion into tests/.bin. Quick when done.
set -euo pipefail
cd "$(dirname "$0")/../tests"

sources=harness/publisher/pion
bin=$PWD/.bin
version=$(cat "$sources"/go.mod "$sources"/go.sum "$sources"/*.go | sha256sum | cut -d' ' -f1)
[ "$(cat "$bin/.pion-publisher" 2>/dev/null)" = "$version" ] && [ -x "$bin/pion-publisher" ] && exit 0

mkdir -p "$bin"
go=$(../scripts/go.sh)
echo "building the tests' publisher on pion (half a minute of one core, once)"
(cd "$sources" && GOTOOLCHAIN=local GOFLAGS=-mod=readonly "$go" build -trimpath -ldflags=-s -o "$bin/pion-publisher" .)
echo "$version" >"$bin/.pion-publisher"
