#!/usr/bin/env bash
# Says clearly what is missing or too old before a long build finds out.
set -euo pipefail

at_least() { # NAME FOUND WANTED HINT
  if [ -z "$2" ]; then echo "$1 is not installed: $4" >&2; exit 1; fi
  if [ "$(printf '%s\n%s\n' "$3" "$2" | sort -V | head -n 1)" != "$3" ]; then
    echo "$1 $2 is too old, $3 is needed: $4" >&2; exit 1
  fi
}

at_least Rust "$(rustc --version 2>/dev/null | cut -d' ' -f2)" 1.95 "see https://rustup.rs"
at_least Node "$(node --version 2>/dev/null | tr -d v)" 20.19 "see https://nodejs.org"
