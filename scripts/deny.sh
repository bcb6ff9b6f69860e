#!/usr/bin/env bash
# Licences, duplicate-free sources and banned crates. Advisories need the network beyond the registry and are
# checked where it is there (scripts/deny.sh advisories).
set -euo pipefail

version=0.20.2
if [ "$(cargo deny --version 2>/dev/null)" != "cargo-deny $version" ]; then
  echo "installing cargo-deny $version"
  CARGO_TARGET_DIR=target/tools cargo install --quiet --locked --debug "cargo-deny@$version"
fi
[ $# -gt 0 ] || set -- licenses bans sources
cargo deny --log-level error check "$@"
